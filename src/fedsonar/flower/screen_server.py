"""The server's side of a screen: a query round for each of its passes, and one for the verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.serde import recorddict_to_proto
from flwr.serverapp import Grid

from fedsonar.flower import tables
from fedsonar.flower.replies import ROOM, ask
from fedsonar.flower.screen_client import HEARD, RECORD, SUMMARY
from fedsonar.flower.secure import Layout, SecureSum, SumError
from fedsonar.flower.secure.client import RECORD as SUM
from fedsonar.screen import Screen, Silo, Tables, hear

TYPE = "query.fedsonar_screen"
"""The messages' type in our own app."""


@dataclass(kw_only=True)
class ScreenServer:
    """Lets a screen hear the clients of a Flower grid.

    Summaries of an additive screen are summed securely, others come as they are. A client that does not answer, or in a
    way that cannot be used, is left out by name, and so long as `fewest` are left the screen hears the others.

    Args:
        grid: Flower's.
        screen: The same as the clients', but for a `key` that these share.
        message_type: Of the messages.
        timeout: Seconds that clients may take for one answer.
        fewest: Clients that a pass takes; at least 3 where it is a secure sum, and as many as share a promised noise.
        share: Part of the clients that must stay in a secure sum; see `SecureSum`.
        bound: Largest whole number of one client in a secure sum; see `Layout`.
        clip: Largest other number.
        secure: Whether additive summaries are summed securely; clients that want it refuse otherwise.
        empty: What a client without rows would summarize: it has the shapes of every client's tables.
        more: What else clients are told with every question, by name.

    Attributes:
        lost: Node -> why it was left out, the last time it was.
        received: Node -> bytes that came from it.
        sent: Node -> bytes that went to it.
    """

    grid: Grid
    screen: Screen
    message_type: str = TYPE
    timeout: float = 3600.0
    fewest: int = 3
    share: float = 2 / 3
    bound: int = 2**24
    clip: float = 1.0
    secure: bool = True
    empty: Silo = field(default_factory=lambda: Silo(-1, ()))
    more: Mapping[str, str] = field(default_factory=dict)
    lost: dict[int, str] = field(default_factory=dict, init=False)
    received: dict[int, int] = field(default_factory=dict, init=False)
    sent: dict[int, int] = field(default_factory=dict, init=False)

    def hear(self, nodes: Sequence[int]) -> list[Tables]:
        """What the screen says after each of its passes over the nodes.

        Raises:
            ValueError: If too few clients gave a summary; names those that did not.
        """
        return hear(self.screen, lambda heard: self._gather(nodes, heard))

    def judge(self, nodes: Sequence[int], heard: Sequence[Tables]) -> dict[int, int]:
        """Node -> how many rows it has left after its verdict, which is all that a node tells of it."""
        found = {}
        for node, content in self._ask(nodes, self._question(heard, "verdict"), ROOM).items():
            record = content.get(RECORD)
            rows = record.get("rows") if isinstance(record, ConfigRecord) else None
            if type(rows) is int and 0 <= rows < 2**31:
                found[node] = rows
            else:
                self.lost[node] = f"{str(rows)[:40]!r} instead of a number of rows"
        return found

    @property
    def _fewest(self) -> int:
        return max(self.fewest, self.screen.fewest)

    def _gather(self, nodes: Sequence[int], heard: Sequence[Tables]) -> list[Tables]:
        if self.secure and self.screen.additive:
            return [self._sum(nodes, heard)]
        read: dict[int, Tables] = {}
        for node, content in self._ask(nodes, self._question(heard, "summary"), tables.MOST_BYTES + ROOM).items():
            try:
                read[node] = tables.read(content.get(SUMMARY))
            except Exception as error:  # whatever Flower's records raise on bytes that somebody made up
                known = isinstance(error, tables.TablesError)
                self.lost[node] = str(error) if known else f"tables that cannot be read ({type(error).__name__})"
        odd = tables.odd_ones(read)
        self.lost |= odd
        summaries = [table for node, table in read.items() if node not in odd]
        if len(summaries) < self._fewest:
            why = "; ".join(f"node {node}, {self.lost[node]}" for node in nodes if node in self.lost)[:1000]
            raise ValueError(
                f"{len(summaries)} clients gave {type(self.screen).__name__} a summary for pass {len(heard) + 1}, and "
                f"it takes {self._fewest}: {why or 'no more were asked'}"
            )
        return summaries

    def _sum(self, nodes: Sequence[int], heard: Sequence[Tables]) -> Tables:
        name = type(self.screen).__name__
        try:
            example = self.screen.summarize(self.empty, heard)
        except Exception as error:
            raise ValueError(
                f"{name} cannot say what a client without rows would send ({error}); a secure sum takes its shapes "
                "from there: give ScreenServer another `empty`"
            ) from error
        layout = Layout.of(example, len(nodes), bound=self.bound, clip=self.clip)
        secure_sum = SecureSum(
            grid=self.grid, message_type=self.message_type, share=self.share, fewest=self._fewest, timeout=self.timeout
        )
        what = f"what {name} hears in pass {len(heard) + 1}"
        found = secure_sum(nodes, layout, self._question(heard, "summary"), what=what)
        self.lost |= found.lost
        self._count(found.received, found.sent)
        return found.tables

    def _question(self, heard: Sequence[Tables], ask: str) -> RecordDict:
        question = ConfigRecord({**self.more, "ask": ask, "screen": repr(self.screen.public()), "passes": len(heard)})
        said = {f"{HEARD}{number}": tables.write(one) for number, one in enumerate(heard, start=1)}
        return RecordDict({RECORD: question, **said})

    def _ask(self, nodes: Sequence[int], question: RecordDict, most: int) -> dict[int, RecordDict]:
        """Node -> its answer, in the order of the nodes; those that gave none are lost."""
        messages = [Message(question, dst_node_id=node, message_type=self.message_type) for node in nodes]
        size = recorddict_to_proto(question).ByteSize()
        found: dict[int, RecordDict] = {}
        why = dict.fromkeys(nodes, f"no reply within {self.timeout:g} s")
        for place, reply in ask(self.grid, messages, patience=self.timeout, most=most):
            node = nodes[place]
            if isinstance(reply, str):
                why[node] = reply
                continue
            self._count({node: recorddict_to_proto(reply.content).ByteSize()}, {})
            refusal = reply.content.get(SUM)
            if isinstance(refusal, ConfigRecord) and "refused" in refusal:
                why[node] = f"it refused: {' '.join(str(refusal['refused']).split())[:300]}"
            else:
                found[node] = reply.content
        self._count({}, dict.fromkeys(nodes, size))
        self.lost |= {node: reason for node, reason in why.items() if node not in found}
        return {node: found[node] for node in nodes if node in found}

    def _count(self, received: Mapping[int, int], sent: Mapping[int, int]) -> None:
        for total, more in ((self.received, received), (self.sent, sent)):
            for node, size in more.items():
                total[node] = total.get(node, 0) + size


__all__ = ["TYPE", "ScreenServer", "SumError"]
