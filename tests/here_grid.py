"""A grid in this process, whose nodes do what a test wants of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid

Node = Callable[[Message, Context], Message]


class HereGrid(Grid):
    """Nodes by number, each with its client and what it does with a message.

    Args:
        nodes: Node -> (client, what it does).
    """

    def __init__(self, nodes: dict[int, tuple[int, Node]]) -> None:
        self.nodes = nodes
        self.sent: list[Message] = []
        self._numbers = itertools.count(1)
        self._waiting: dict[str, Message] = {}

    def set_run(self, run):
        raise NotImplementedError

    @property
    def run(self):
        raise NotImplementedError

    def create_message(self, *arguments, **options):
        raise NotImplementedError

    def get_node_ids(self) -> list[int]:
        return list(self.nodes)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            self.sent.append(message)
            name = f"message-{next(self._numbers)}"
            message.metadata.__dict__["_message_id"] = name
            ids.append(name)
            reply = self._answer(message)
            if reply is not None:
                self._waiting[name] = reply
        return ids

    def _answer(self, message: Message) -> Message | None:
        node = message.metadata.dst_node_id
        if node not in self.nodes:
            return None
        client, act = self.nodes[node]
        context = Context(1, node, {"partition-id": client}, RecordDict(), {})
        try:
            return act(message, context)
        except TimeoutError:
            return None
        except Exception as error:
            return Message(Error(code=2, reason=str(error)), reply_to=message)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """What is there, the latest first."""
        return [self._waiting.pop(name) for name in sorted(message_ids, reverse=True) if name in self._waiting]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return self.pull_messages(self.push_messages(messages))
