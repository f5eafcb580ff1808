"""A ClientApp that hands its messages to a process beside the SuperNode, which keeps model and rows between them.

Flower starts a fresh process for every message. This one loads next to nothing: the first message starts a worker, and
later ones find it. They talk through a socket in a folder that is the user's alone, with a key that lies in it; the
worker ends with the SuperNode, or when nobody asked for a while.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Client, Connection
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.common.serde import context_from_proto, context_to_proto, message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Context as ContextProto
from flwr.proto.message_pb2 import Message as MessageProto

IDLE = 1800
"""Seconds after which a worker that nobody asks ends; a node's ``idle`` says otherwise."""

_START = 300.0
"""Seconds that a worker may take to come up."""


class WorkerError(RuntimeError):
    """What the server is told of an error at the client: its kind, or its message where that says nothing of rows."""


class WarmClientApp(ClientApp):  # type: ignore[misc]
    """Any ClientApp, run in a worker that outlives the message.

    Args:
        app: The app's module and name, as in ``fedsonar.flower.client:app``.
    """

    def __init__(self, app: str) -> None:
        super().__init__()
        self.app = app

    def __call__(self, message: Message, context: Context) -> Message:
        """The app's reply.

        Raises:
            WorkerError: If the app raised an error, which the worker's output has in full.
        """
        node = os.getppid()  # Flower's SuperExec, which lives as long as the SuperNode
        idle = int(context.node_config.get("idle", IDLE))
        with connect(folder_of(node), self.app, node, idle) as connection:
            connection.send_bytes(message_to_proto(message).SerializeToString())
            connection.send_bytes(context_to_proto(context).SerializeToString())
            try:
                kind, answer, after = (connection.recv_bytes() for _ in range(3))
            except EOFError as error:
                raise WorkerError("the worker of this client ended while it was at work") from error
        if kind != b"reply":
            raise WorkerError(answer.decode())
        context.state = context_from_proto(ContextProto.FromString(after)).state
        reply: Message = message_from_proto(MessageProto.FromString(answer))
        return reply


_LONGEST_SOCKET = 103
"""Bytes of a socket's path that every system takes."""

app = WarmClientApp("fedsonar.flower.client:app")


def folder_of(node: int) -> Path:
    """Where the worker of a node's process has its socket: a folder that nobody else can read.

    Raises:
        PermissionError: If somebody else made it, or others may enter.
        OSError: If its path is too long for a socket.
    """
    user = os.getuid()
    home = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"fedsonar-{user}"
    own = home / name_of(node)
    length = len(os.fsencode(own / "socket"))
    if length > _LONGEST_SOCKET:
        raise OSError(
            f"a worker's socket would have a path of {length} bytes in {home}, of which systems take "
            f"{_LONGEST_SOCKET}: set XDG_RUNTIME_DIR to a folder with a shorter path"
        )
    for folder in (home, own):
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if found.st_uid != user or found.st_mode & 0o170077 != 0o040000:
            raise PermissionError(f"{folder} is not a folder of this user's alone; remove it")
    return folder


def name_of(node: int) -> str:
    """Tells a process from a later one of the same number, where the system says when it was started."""
    try:
        started = Path(f"/proc/{node}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        started = "0"
    return f"{node}-{started}"


def connect(folder: Path, app: str, node: int, idle: int) -> Connection:
    """A connection to the worker in `folder`, which is started where there is none.

    Raises:
        WorkerError: If it does not come up.
    """
    key, socket = folder / "key", folder / "socket"
    worker: subprocess.Popen[bytes] | None = None
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline:
        try:
            return Client(str(socket), "AF_UNIX", authkey=key.read_bytes())
        except (FileNotFoundError, ConnectionRefusedError):
            if worker is None:
                socket.unlink(missing_ok=True)
                key.unlink(missing_ok=True)
                with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(secrets.token_bytes(32))
                command = [sys.executable, "-m", "fedsonar.flower.worker", str(folder), app, str(node), str(idle)]
                worker = subprocess.Popen(command, stdin=subprocess.DEVNULL)
            elif worker.poll() is not None:
                raise WorkerError(f"the worker of this client ended at once, with status {worker.returncode}") from None
        except (EOFError, ConnectionResetError, BrokenPipeError):
            pass  # one that is just ending
        time.sleep(0.05)
    raise WorkerError(f"the worker of this client did not come up within {_START:g} s")
