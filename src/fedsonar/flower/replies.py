"""Asking nodes: no reply larger than told is read, and each by itself, so that no other suffers from a bad one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid

_PAUSE = 0.05
"""Seconds between two looks for replies, at first."""

_LATE = 10.0
"""Seconds to wait for a part of a reply that was refused."""

ROOM = 1 << 20
"""Bytes of a reply beside the arrays in it."""


def ask(grid: Grid, messages: Sequence[Message], *, patience: float, most: int) -> Iterator[tuple[int, Message | str]]:
    """Sends messages: the place of each that is answered in time, with its reply, or why that cannot be used.

    Args:
        grid: Flower's.
        messages: To nodes; a reply belongs to the message that was sent, whoever it says that it is from.
        patience: Seconds to wait.
        most: Bytes that a reply may have; see `collect`.

    Raises:
        ValueError: If the SuperLink does not take the messages.
    """
    ids = list(grid.push_messages(messages)) if messages else []
    if len(ids) < len(messages):
        raise ValueError("the SuperLink took no messages: they are larger than it allows")
    places = {id: place for place, id in enumerate(ids) if id}
    for id, reply in collect(grid, list(places), patience=patience, most=most):
        if isinstance(reply, Message) and reply.has_error():
            yield places[id], f"its app failed: {' '.join(str(reply.error.reason).split())[:200]}"
        else:
            yield places[id], reply


def collect(grid: Grid, ids: Sequence[str], *, patience: float, most: int) -> Iterator[tuple[str, Message | str]]:
    """What comes back before patience ends: the id of the message, and its reply, or why it cannot be used.

    Args:
        grid: Flower's.
        ids: Of the messages that were sent.
        patience: Seconds to wait.
        most: Bytes that a reply may have. From a SuperLink more than that is never read, whatever else it holds.
    """
    waiting, began = list(ids), time.monotonic()
    while waiting:
        for id in list(waiting):
            found = _pull(grid, id, most)
            if found is not None:
                waiting.remove(id)
                yield id, found
        waited = time.monotonic() - began
        if waited > patience:
            return
        if waiting:
            time.sleep(min(1.0, max(_PAUSE, waited / 10)))


def _pull(grid: Grid, id: str, most: int) -> Message | str | None:
    try:
        with _bounded(grid, most):
            return next(iter(grid.pull_messages([id])), None)
    except _TooLargeError as error:
        return str(error)
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("httpx", "httpcore"):
            raise  # the SuperLink is not there: no fault of a client's
        return f"a reply that cannot be read ({type(error).__name__})"


class _TooLargeError(Exception):
    """A reply of more bytes than it may have; the message says so."""


@contextmanager
def _bounded(grid: Grid, most: int) -> Iterator[None]:
    """Lets no more than so many bytes come from a SuperLink: sizes are looked at before anything is read.

    Grids in process have no connection; there what is too large is refused where it is unpacked.
    """
    connection = getattr(getattr(grid, "_runtime_client", None), "_client", None)
    if connection is None:
        yield
        return
    taken, lock = 0, Lock()
    caller, before = threading.current_thread(), set(threading.enumerate())

    def count(response: Any) -> None:
        nonlocal taken
        thread = threading.current_thread()
        if thread in before and thread is not caller:
            return  # Flower's own, a sign of life, say
        length = response.headers.get("content-length", "")
        with lock:
            taken += int(length) if length.isdecimal() else most + 1
            if taken > most:
                raise _TooLargeError(f"a reply of more than {most:,} bytes, which was not read")

    hooks = connection.event_hooks
    connection.event_hooks = {**hooks, "response": [*hooks["response"], count]}
    try:
        yield
    finally:
        # Flower reads the parts of a reply in threads, and does not wait for them when one fails: what comes late must
        # be refused as well, and must not count for the reply that is read next.
        for thread in set(threading.enumerate()) - before:
            thread.join(_LATE)
        connection.event_hooks = hooks
