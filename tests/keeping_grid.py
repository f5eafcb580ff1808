"""A grid in this process whose nodes keep their state as Flower's do: in bytes between messages."""

from __future__ import annotations

import copy
from collections.abc import Callable

from flwr.app import Context, Error, Message, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as RecordDictProto

from here_grid import HereGrid, Node


def through_bytes(content: RecordDict) -> RecordDict:
    """What another process reads of records."""
    return recorddict_from_proto(RecordDictProto.FromString(recorddict_to_proto(content).SerializeToString()))


class KeepingGrid(HereGrid):
    """As `HereGrid`, and every message and all state goes through bytes.

    Args:
        nodes: Node -> (client, what it does).
        tamper: Changes a reply, or gives None for one that is lost; told node and message.
    """

    def __init__(
        self,
        nodes: dict[int, tuple[int, Node]],
        tamper: Callable[[int, Message, Message], Message | None] = lambda node, message, reply: reply,
    ) -> None:
        super().__init__(nodes)
        self.tamper = tamper
        self.states: dict[int, bytes] = {}
        self.replies: list[tuple[int, Message]] = []

    def context(self, node: int) -> Context:
        """The node's context as its next message finds it."""
        state = RecordDictProto.FromString(self.states[node]) if node in self.states else RecordDictProto()
        return Context(1, node, {"partition-id": self.nodes[node][0]}, recorddict_from_proto(state), {})

    def _answer(self, message: Message) -> Message | None:
        node = message.metadata.dst_node_id
        if node not in self.nodes:
            return None
        context = self.context(node)
        read = copy.copy(message)
        read.content = through_bytes(message.content)
        try:
            reply = self.nodes[node][1](read, context)
        except TimeoutError:
            return None
        except Exception as error:
            reply = Message(Error(code=2, reason=str(error)), reply_to=message)
        self.states[node] = recorddict_to_proto(context.state).SerializeToString()
        reply.metadata.__dict__["_src_node_id"] = node
        if reply.has_content():
            reply.content = through_bytes(reply.content)
        tampered = self.tamper(node, message, reply)
        if tampered is not None:
            self.replies.append((node, tampered))
        return tampered
