"""Processes that outlive nobody."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from multiprocessing.context import BaseContext
from threading import Thread


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def forking(modules: Sequence[str]) -> BaseContext:
    """How processes start that need some modules: forked off a server that imports them once, where there are forks.

    The first call of a program says which modules those are, and what the environment is then stays that of all.

    Args:
        modules: What to import; names of what cannot be imported are passed over.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    return context


def end_with_caller() -> None:
    """In a process that another one started: ends with that one, should it be killed without a word to say so."""

    def wait() -> None:
        caller = multiprocessing.parent_process()
        assert caller is not None
        caller.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()
