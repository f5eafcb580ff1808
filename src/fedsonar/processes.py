"""Processes that outlive nobody."""

from __future__ import annotations

import multiprocessing
import os
from threading import Thread


def end_with_caller() -> None:
    """In a process that another one started: ends with that one, should it be killed without a word to say so."""

    def wait() -> None:
        caller = multiprocessing.parent_process()
        assert caller is not None
        caller.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()
