"""Whether processes still run."""

from pathlib import Path


def runs(process: int | str) -> bool:
    """Whether a process of Linux runs: it is there, and more than its exit status is left of it."""
    stat = Path(f"/proc/{process}/stat")
    return stat.is_file() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
