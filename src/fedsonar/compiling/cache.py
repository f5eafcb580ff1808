"""Where compiled kernels are kept, so that they are compiled once on a machine, by whichever process comes first."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from filelock import FileLock
from numba.core.caching import FunctionCache, IndexDataCacheFile


@cache  # every kernel of a package asks
def folder(package: Path) -> str:
    """The folder for a package's kernels in this state of its sources, since they are built from each other.

    Numba itself would look at the one file that a kernel stands in. Its ``NUMBA_CACHE_DIR`` says where the folder lies;
    else it lies beside the sources, or in the user's own cache where nobody may write there.
    """
    state = hashlib.sha256()
    for source in [*sorted(package.glob("*.py")), *sorted(Path(__file__).parent.glob("*.py"))]:
        state.update(source.read_bytes())
    beside = package / "__pycache__"
    ours = beside if os.access(beside if beside.exists() else package, os.W_OK) else Path.home() / ".cache" / "fedsonar"
    settings: Any = numba.config
    return str(Path(settings.CACHE_DIR or ours) / f"kernels-{state.hexdigest()[:16]}")


def compiled_before(package: Path) -> bool:
    """Whether kernels of a package, in this state of its sources, were compiled on this machine, and kept."""
    return Path(folder(package)).is_dir()


class _OneAtATime(IndexDataCacheFile):
    """Files that one process or thread at a time reads or writes.

    Numba numbers a new file after an index that another process may be about to write. Two types of arguments can then
    end up in one file, and whoever loads it later gets the other's code, and wrong numbers without an error.
    """

    def load(self, key: Any) -> Any:
        """What was kept under a key, if anything was."""
        with self._alone():
            return super().load(key)

    def save(self, key: Any, data: Any) -> None:
        """Keeps something under a key."""
        with self._alone():
            super().save(key, data)

    def _alone(self) -> FileLock:
        folder = Path(self._cache_path)
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / "lock")


class SharedCache(FunctionCache):
    """Numba's cache of a function, for processes that compile at the same time.

    Attributes:
        lock: A file that whoever looks for the function here, and compiles it if need be, may lock.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        plain, name = self._cache_file, self._impl.filename_base
        self._cache_file = _OneAtATime(self.cache_path, name, plain._source_stamp)
        self.lock = Path(self.cache_path) / f"{name}.lock"
