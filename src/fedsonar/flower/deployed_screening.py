"""The screen of a deployment: rows stay with their clients, which are heard over the grid and judge by themselves."""

from __future__ import annotations

import tomllib

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.experiment import from_config
from fedsonar.flower.grid_engine import GridEngine
from fedsonar.flower.screen_server import ScreenServer
from fedsonar.preparation import Federation
from fedsonar.records import Run, SentRecord
from fedsonar.screen import Features, Silo, Tables
from fedsonar.screening import Screening

_HEARD = "screen.heard."
"""With the number of a pass and a table's name: what the screen said after it, in the run's state."""


class DeployedScreening(Screening):
    """Has every client judge its own rows before it trains; see `ScreenServer`.

    What was heard is in the run's state, so that a stopped run goes on with it. A client that comes later, or whose
    node failed or started anew, judges by it before it trains; one without a verdict or a row does not train.

    Args:
        federation: As its server sees it.
        state: Of the run; changed in place.
        engine: Asks the clients.
    """

    def __init__(self, federation: Federation, state: Run, engine: GridEngine) -> None:
        super().__init__(federation, state)
        self.engine = engine
        self.screen = from_config(tomllib.loads(engine.told)).screen  # as clients read it
        self._judged: dict[int, int] = {}

    def before(self, round: int, adapter: Float[Tensor, "dim"]) -> bool:
        """Hears all clients where that was not done, and has those judge that have not; says whether they were heard.

        Raises:
            ValueError: If too few clients could be heard; names the others.
        """
        del adapter
        if self.screen is None:
            return False
        engine, trainer = self.engine, self.federation.trainer
        server = ScreenServer(
            grid=engine.grid, screen=self.screen, timeout=engine.patience, more={"experiment": engine.told},
            empty=Silo(-1, (), (), Features(trainer.network, ()), trainer.tokenize),
        )  # fmt: skip
        nodes = engine.nodes(set(range(len(self.federation.rows))))
        heard, old = self._heard(), True
        if not heard:
            heard, old = server.hear([nodes[client] for client in sorted(nodes)]), False
            self._keep(round, heard, {client: server.received.get(node, 0) for client, node in sorted(nodes.items())})
        failed = {client for client, node in nodes.items() if self._judged.get(client) != node}
        failed |= {record.client for record in self.state.clients if record.round == round - 1 and record.refused}
        asked = {nodes[client]: client for client in sorted(failed) if client in nodes}
        left = server.judge(list(asked), heard)
        for node, client in asked.items():
            self._judged.pop(client, None)
            self.engine.left_out.pop(client, None)
            if left.get(node):
                self._judged[client] = node
            else:
                lost = f"no verdict on its rows: {server.lost.get(node, 'no reply')}"
                self.engine.left_out[client] = "the screen leaves it no row" if node in left else lost
        return not old

    def _heard(self) -> list[Tables]:
        """What was heard before; empty where nothing was."""
        found: dict[int, dict[str, Tensor]] = {}
        for name, table in self.state.tensors.items():
            if name.startswith(_HEARD):
                number, _, own = name.removeprefix(_HEARD).partition(".")
                found.setdefault(int(number), {})[own] = table
        return [{name: table.numpy() for name, table in found[number].items()} for number in sorted(found)]

    def _keep(self, round: int, heard: list[Tables], received: dict[int, int]) -> None:
        assert self.screen is not None
        for number, tables in enumerate(heard, start=1):
            self.state.tensors |= {f"{_HEARD}{number}.{name}": torch.from_numpy(t) for name, t in tables.items()}
        self.state.sent += [
            SentRecord(
                round=round, client=client, step=len(heard), name="all passes", dtype="uint8", shape=str(size),
                bytes=size, additive=self.screen.additive,
            )
            for client, size in received.items()
        ]  # fmt: skip
