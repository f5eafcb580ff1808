"""Training by the nodes of a Flower grid."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from fedsonar.engine import ROOT, ClientJob, Engine
from fedsonar.experiment import Experiment, to_toml
from fedsonar.flower import wire
from fedsonar.flower.replies import ROOM, ask
from fedsonar.records import Update

WHO = "query.fedsonar"
"""Asks a node which client it is."""

_POLL = 0.5
"""Seconds between two looks for nodes."""

_ANSWER = 60.0
"""Seconds that a node may take to say which client it is."""

_NAME = re.compile(r"client-(\d+)")
"""What a node is registered as that may be this client and no other."""


class GridEngine(Engine):
    """Asks the node of each client for its update, and puts the replies in the clients' order.

    Nodes get new numbers whenever they start; clients are known by their own, which a node is asked for when its number
    is new. A node that was registered with its key as ``client-3`` is client 3 and nobody else is, whatever is claimed.
    A client without a node, or whose node does not answer in time, has no update in that round, and the round goes on
    without it. The server's own rows are trained here.

    Args:
        grid: Flower's.
        experiment: What clients are told.
        here: Trains the server's own rows.
        patience: Seconds that clients may take for a round.
        gather: Seconds that nodes may take to appear before the first round; as patience by default.
        screened: Whether clients train on the rows of their jobs alone, by their ids, and not on all that they have.

    Attributes:
        told: What clients are told, in TOML.
        left_out: Client -> why it is not asked to train.
    """

    def __init__(
        self, grid: Grid, experiment: Experiment, here: Engine, *, patience: float = 3600.0,
        gather: float | None = None, screened: bool = False,
    ) -> None:  # fmt: skip
        self.grid, self.here, self.patience = grid, here, patience
        self.gather = patience if gather is None else gather
        self.told, self._training = to_toml(experiment), experiment.training
        self._clients: dict[int, int] = {}
        self._screened = screened
        self.left_out: dict[int, str] = {}

    def train_round(self, jobs: Sequence[ClientJob]) -> list[Update]:
        """The updates, in the order of the jobs; what did not come says why.

        Of two jobs of one client the second is its twin's.

        Raises:
            ValueError: If a twin did not answer: simulations have no way to go on without.
        """
        nodes = self.nodes({job.client for job in jobs if job.client != ROOT})
        updates: dict[int, Update] = {}
        messages: list[Message] = []
        places, seen = [], set()
        for place, job in enumerate(jobs):
            if job.client == ROOT:
                [updates[place]] = self.here.train_round([job])
            elif job.client in self.left_out:
                updates[place] = Update.none(job.client, self.left_out[job.client])
            elif job.client not in nodes:
                updates[place] = Update.none(job.client, "no node of it is connected")
            else:
                twin = job.client in seen
                kept = tuple(row.id for row in job.rows) if self._screened else None
                task = wire.Task(self.told, job.client, job.round, twin, job.start, kept)
                messages.append(wire.ask(task, nodes[job.client], self.patience))
                places.append(place)
                seen.add(job.client)
        most = 4 * max((len(job.start) for job in jobs), default=0) + ROOM
        for at, reply in ask(self.grid, messages, patience=self.patience, most=most):
            job = jobs[places[at]]
            updates[places[at]] = (
                Update.none(job.client, reply)
                if isinstance(reply, str)
                else wire.read_update(reply, job.client, job.start, self._training)
            )
        late = f"no reply within {self.patience:g} s"
        found = [updates.get(place) or Update.none(job.client, late) for place, job in enumerate(jobs)]
        clients: set[int] = set()
        for update in found:
            if update.client in clients and update.missing:
                raise ValueError(f"the twin of client {update.client} did not train: {update.missing}")
            clients.add(update.client)
        return found

    def nodes(self, wanted: set[int]) -> dict[int, int]:
        """Client -> node, of the nodes that are connected now; waits for those of all clients only at the start."""
        first = not self._clients
        deadline = time.monotonic() + self.gather
        while True:
            nodes = set(self.grid.get_node_ids())
            registered = self._registered()
            self._clients |= {node: client for node, client in registered.items() if node in nodes}
            self._ask_who(sorted(nodes - set(self._clients)))
            # The latest first, then registered ones: a node that is gone may still count as connected for a while.
            known = [(client, node) for node, client in self._clients.items() if node in nodes]
            found = dict(known) | {client: node for node, client in registered.items() if node in nodes}
            if wanted <= set(found) or not first or time.monotonic() > deadline:
                return found
            time.sleep(_POLL)

    def _registered(self) -> dict[int, int]:
        """Node -> client, of nodes that were registered with a key under a client's name."""
        infos = getattr(self.grid, "get_nodes", None) if hasattr(self.grid, "_runtime_client") else None
        matches = {info.node_id: _NAME.fullmatch(info.name or "") for info in (infos() if infos else ())}
        return {node: int(match[1]) for node, match in matches.items() if match}

    def _ask_who(self, nodes: Sequence[int]) -> None:
        """Asks nodes which client they are; those that do not say so in a way that can be used are asked again."""
        messages = [
            Message(RecordDict({"who": ConfigRecord({})}), dst_node_id=node, message_type=WHO) for node in nodes
        ]
        for place, reply in ask(self.grid, messages, patience=min(self.patience, _ANSWER), most=ROOM):
            client = None if isinstance(reply, str) else wire.read_client(reply)
            if client is not None:
                self._clients[nodes[place]] = client
