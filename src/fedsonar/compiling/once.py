"""Who compiles a kernel, of the processes that need it at the same time: the first, while the others wait for it."""

from __future__ import annotations

from typing import Any

from filelock import FileLock
from numba.core.compiler_lock import global_compiler_lock


def compile_once(kernel: Any) -> None:
    """Lets one process at a time compile a kernel, so that the next one finds it in the cache.

    Kernels call one another in one direction, so no two processes wait for each other; nor do two threads of a process,
    as all of them take Numba's own lock first.

    Args:
        kernel: A function of Numba's with a `SharedCache`.
    """
    plain, lock = kernel.compile, kernel._cache.lock

    def compile(signature: Any) -> Any:
        with global_compiler_lock:
            lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock):  # not one for all calls: a fork may not use its parent's
                return plain(signature)

    kernel.compile = compile
