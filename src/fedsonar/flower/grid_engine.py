"""Training by the nodes of a Flower grid."""

from __future__ import annotations

import time
from collections.abc import Sequence

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from fedsonar.engine import ClientJob, Engine
from fedsonar.experiment import Experiment, to_toml
from fedsonar.flower import wire
from fedsonar.preparation import ROOT
from fedsonar.records import Update

WHO = "query.fedsonar"
"""Asks a node which client it is."""

_POLL, _PAUSE = 0.5, 0.05
"""Seconds between two looks for nodes, and for replies."""


class GridEngine(Engine):
    """Asks the node of each client for its update, and puts the replies in the clients' order.

    Nodes get new numbers whenever they start; clients are known by their partition, which a node is asked for when its
    number is new. A client without a node, or whose node does not answer in time, has no update in that round, and the
    round goes on without it. The server's own rows are trained here.

    Args:
        grid: Flower's.
        experiment: What clients are told.
        here: Trains the server's own rows.
        patience: Seconds that clients may take for a round, and nodes to appear before the first.
    """

    def __init__(self, grid: Grid, experiment: Experiment, here: Engine, *, patience: float = 3600.0) -> None:
        self.grid, self.here, self.patience = grid, here, patience
        self._experiment = to_toml(experiment)
        self._clients: dict[int, int] = {}

    def train_round(self, jobs: Sequence[ClientJob]) -> list[Update]:
        """The updates, in the order of the jobs; what did not come says why.

        Of two jobs of one client the second is its twin's.

        Raises:
            ValueError: If a twin did not answer: simulations have no way to go on without.
        """
        nodes = self._nodes({job.client for job in jobs if job.client != ROOT})
        updates: dict[int, Update] = {}
        messages, seen = [], set()
        for place, job in enumerate(jobs):
            if job.client == ROOT:
                [updates[place]] = self.here.train_round([job])
            elif job.client not in nodes:
                updates[place] = Update.none(job.client, "no node of it is connected")
            else:
                twin = job.client in seen
                task = wire.Task(self._experiment, job.client, job.round, twin, job.start)
                messages.append((place, wire.ask(task, nodes[job.client])))
                seen.add(job.client)
        ids = list(self.grid.push_messages([message for _, message in messages]))
        asked = {id: place for id, (place, _) in zip(ids, messages, strict=True)}
        for reply in self._replies(ids):
            place = asked[reply.metadata.reply_to_message_id]
            updates[place] = wire.read_update(reply, jobs[place].client, len(jobs[place].start))
        late = f"no reply within {self.patience:g} s"
        found = [updates.get(place) or Update.none(job.client, late) for place, job in enumerate(jobs)]
        clients: set[int] = set()
        for update in found:
            if update.client in clients and update.missing:
                raise ValueError(f"the twin of client {update.client} did not train: {update.missing}")
            clients.add(update.client)
        return found

    def _replies(self, ids: Sequence[str]) -> list[Message]:
        """What comes back before patience ends."""
        waiting, found = set(ids), []
        deadline = time.monotonic() + self.patience
        while waiting and time.monotonic() < deadline:
            for reply in self.grid.pull_messages(list(waiting)):
                waiting.discard(reply.metadata.reply_to_message_id)
                found.append(reply)
            if waiting:
                time.sleep(_PAUSE)
        return found

    def _nodes(self, wanted: set[int]) -> dict[int, int]:
        """Client -> node, of the nodes that are connected now; waits for those of all clients only at the start."""
        first = not self._clients
        deadline = time.monotonic() + self.patience
        while True:
            nodes = set(self.grid.get_node_ids())
            self._ask_who(sorted(nodes - set(self._clients)))
            found = {client: node for node, client in sorted(self._clients.items()) if node in nodes}
            if wanted <= set(found) or not first or time.monotonic() > deadline:
                return found
            time.sleep(_POLL)

    def _ask_who(self, nodes: Sequence[int]) -> None:
        """Asks nodes which client they are; those that do not say so in a way that can be used are asked again."""
        if not nodes:
            return
        content = RecordDict({"who": ConfigRecord({})})
        messages = [Message(content, dst_node_id=node, message_type=WHO) for node in nodes]
        for reply in self.grid.send_and_receive(messages, timeout=min(self.patience, 60.0)):
            client = wire.read_client(reply)
            if client is not None:
                self._clients[reply.metadata.src_node_id] = client
