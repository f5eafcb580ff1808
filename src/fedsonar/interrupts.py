"""Stopping when asked to, even where compiled code swallows the request."""

from __future__ import annotations

import signal
import threading
from types import TracebackType


class Interrupts:
    """Remembers that somebody pressed Ctrl-C; a context manager.

    The first interrupt raises KeyboardInterrupt as ever. Where it arrives while a compiled kernel looks at the types of
    its arguments, Numba drops whatever is raised (about one interrupt in thirty), and the program would go on.
    """

    def __init__(self) -> None:
        self._asked = False

    def __enter__(self) -> Interrupts:
        ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        self._took = ours and threading.current_thread() is threading.main_thread()
        if self._took:
            signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._took:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _interrupt(self, *_: object) -> None:
        self._asked = True
        raise KeyboardInterrupt

    def check(self) -> None:
        """To be called now and then.

        Raises:
            KeyboardInterrupt: If there was an interrupt, whoever may have caught it.
        """
        if self._asked:
            raise KeyboardInterrupt
