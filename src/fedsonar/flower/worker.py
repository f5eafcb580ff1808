"""The process beside a SuperNode that keeps model and rows between messages: ``python -m fedsonar.flower.worker``.

It is started by `fedsonar.flower.warm`, one a SuperNode, and answers one message at a time.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import time
import traceback
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from threading import Thread

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.common.serde import context_from_proto, context_to_proto, message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Context as ContextProto
from flwr.proto.message_pb2 import Message as MessageProto

from fedsonar.flower.warm import name_of

_LOOK = 0.5
"""Seconds between two looks whether the SuperNode is still there."""


class Worker:
    """Answers messages until nobody asks any more.

    Args:
        folder: Where key and socket are.
        app: The ClientApp's module and name.
        node: The process to end with.
        idle: Seconds without a message after which to end.
    """

    def __init__(self, folder: Path, app: str, node: int, idle: float) -> None:
        self.folder, self.node, self.idle = folder, node, idle
        self._name = app
        self._busy, self._last = False, time.monotonic()

    def serve(self) -> None:
        """Answers whoever has the key; returns never."""
        Thread(target=self._watch, daemon=True).start()
        module, _, name = self._name.partition(":")
        app: ClientApp = getattr(importlib.import_module(module), name)
        with Listener(str(self.folder / "socket"), "AF_UNIX", authkey=(self.folder / "key").read_bytes()) as listener:
            (self.folder / "socket").chmod(0o600)
            while True:
                try:
                    with listener.accept() as connection:
                        self._busy = True
                        self._answer(app, connection)
                except (AuthenticationError, EOFError, OSError):
                    traceback.print_exc()
                finally:
                    self._busy, self._last = False, time.monotonic()

    def _answer(self, app: ClientApp, connection: Connection) -> None:
        message: Message = message_from_proto(MessageProto.FromString(connection.recv_bytes()))
        context: Context = context_from_proto(ContextProto.FromString(connection.recv_bytes()))
        try:
            kind, answer = b"reply", message_to_proto(app(message, context)).SerializeToString()
        except Exception as error:
            traceback.print_exc()
            kind, answer = b"error", told(error).encode()
        for part in (kind, answer, context_to_proto(context).SerializeToString()):
            connection.send_bytes(part)

    def _watch(self) -> None:
        while (self._busy or time.monotonic() - self._last < self.idle) and self._is_ours():
            time.sleep(_LOOK)
        shutil.rmtree(self.folder, ignore_errors=True)
        os._exit(0)

    def _is_ours(self) -> bool:
        """Whether the process to end with is still there, and not another one of its number."""
        try:
            os.kill(self.node, 0)
            return name_of(self.node) == self.folder.name
        except OSError:
            return False


def told(error: Exception) -> str:
    """What the server is told of an error: messages may quote rows or paths, and those stay here."""
    if isinstance(error, FloatingPointError):  # of client, round and learning rate
        return str(error)
    return f"{type(error).__name__}; what it says is in the log of this client's SuperNode"


if __name__ == "__main__":
    Worker(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])).serve()
