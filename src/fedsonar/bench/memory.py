"""Memory of a process, and of a process with all its descendants, in megabytes (2^20 bytes)."""

from __future__ import annotations

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_PROCESSES = Path("/proc")


def peak_resident() -> float:
    """The most memory that this process ever held.

    On Linux, the kernel's mark of the process image: ``ru_maxrss`` also remembers the process that started this one.
    """
    marked = _status("self", "VmHWM")
    if marked is not None:
        return marked
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def forget_peak() -> None:
    """Makes what this process holds now the most that it ever held, where the kernel lets it (Linux)."""
    with suppress(OSError):
        (_PROCESSES / "self" / "clear_refs").write_text("5")


def available_memory() -> float:
    """How much memory new work can have; no limit off Linux, where nobody says."""
    available = _field(_PROCESSES / "meminfo", "MemAvailable")
    return float("inf") if available is None else available


def _status(process: str, key: str) -> float | None:
    return _field(_PROCESSES / process / "status", key)


def _field(path: Path, key: str) -> float | None:
    """A quantity in kB of one of the kernel's files, in MB; None where there is none (any more)."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 2**10 for line in lines if line.startswith(f"{key}:")), None)


def family_memory(root: int) -> float:
    """Memory of a process and all its descendants; pages that several of them share count once (Linux).

    Args:
        root: Process id.
    """
    children = defaultdict(list)
    for entry in _PROCESSES.glob("[0-9]*/stat"):
        try:
            after_name = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        children[int(after_name[1])].append(int(entry.parent.name))
    found, total = [root], 0.0
    for process in found:
        found += children[process]
        share = _field(_PROCESSES / str(process) / "smaps_rollup", "Pss")
        total += share if share is not None else _status(str(process), "VmRSS") or 0.0
    return total


def watch(root: int, running: Callable[[], bool]) -> float | None:
    """The most memory that a process and its descendants were seen to hold at once, in MB; None off Linux.

    Watches until `running` says no: ten times a second, or less often where looking takes long, to cost at most the
    twentieth of a core.
    """
    if not _PROCESSES.is_dir():
        while running():
            time.sleep(0.05)
        return None
    most = 0.0
    while running():
        began = time.perf_counter()
        most = max(most, family_memory(root))
        time.sleep(max(0.1, 19 * (time.perf_counter() - began)))
    return most
