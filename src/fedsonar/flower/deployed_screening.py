"""The screen of a deployment: rows stay with their clients, which are heard over the grid and judge by themselves."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.experiment import from_config
from fedsonar.flower.grid_engine import GridEngine
from fedsonar.flower.screen_server import ScreenServer
from fedsonar.preparation import Federation
from fedsonar.records import Run, SentRecord
from fedsonar.screen import Tables
from fedsonar.screening import Screening, silo_of

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
        """Client -> the node that judged its rows, with some left."""

    def before(self, round: int, adapter: Float[Tensor, "dim"]) -> bool:
        """Hears all clients where that was not done, and has those judge that have not; says whether they were heard.

        Raises:
            ValueError: If too few clients could be heard; names the others.
        """
        del adapter
        if self.screen is None:
            return False
        server = ScreenServer(
            grid=self.engine.grid, screen=self.screen, timeout=self.engine.patience,
            more={"experiment": self.engine.told},
            empty=silo_of(-1, (), (), self.federation.trainer, self.screen),
        )  # fmt: skip
        nodes = self.engine.nodes(set(range(len(self.federation.rows))))
        heard = self._heard()
        new = len(heard) < self.screen.passes
        if new:
            heard = server.hear([nodes[client] for client in sorted(nodes)])
            self._keep(round, heard, {client: server.received.get(node, 0) for client, node in sorted(nodes.items())})
        self._judge(server, self._unjudged(round, nodes), heard)
        return new

    def _unjudged(self, round: int, nodes: Mapping[int, int]) -> dict[int, int]:
        """Client -> node, of those that are new, gave no verdict, or failed in the round before."""
        failed = {record.client for record in self.state.clients if record.round == round - 1 and record.refused}
        return {
            client: node for client, node in sorted(nodes.items())
            if client in failed or self._judged.get(client) != node
        }  # fmt: skip

    def _judge(self, server: ScreenServer, nodes: Mapping[int, int], heard: Sequence[Tables]) -> None:
        """Asks for verdicts; clients without one, or without a row after it, are left out of training."""
        left = server.judge(list(nodes.values()), heard) if nodes else {}
        for client, node in nodes.items():
            self._judged.pop(client, None)
            self.engine.left_out.pop(client, None)
            if left.get(node):
                self._judged[client] = node
            elif node in left:
                self.engine.left_out[client] = "the screen leaves it no row"
            else:
                self.engine.left_out[client] = f"no verdict on its rows: {server.lost[node]}"

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
                bytes=size, additive=self.screen.additive, epsilon=self.screen.epsilon,
            )
            for client, size in received.items()
        ]  # fmt: skip
