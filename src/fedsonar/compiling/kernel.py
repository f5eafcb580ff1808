"""How a function becomes a kernel: compiled when it is first called, and kept."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast, overload

import numba

from fedsonar.compiling.cache import SharedCache, folder
from fedsonar.compiling.once import compile_once

_ANY_ORDER = {"reassoc", "contract", "arcp", "nsz", "afn"}
"""What LLVM may do to sums and products while NaN and infinity stay what they are."""


@overload
def kernel(function: Callable[..., Any]) -> Callable[..., Any]: ...


@overload
def kernel(*, finite: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...


def kernel(function: Callable[..., Any] | None = None, *, finite: bool = True) -> Callable[..., Any]:
    """Compiles a function when it is first called, for this processor, and keeps the result on disk.

    Of processes that call it at the same time, one compiles it. It holds no lock while it runs, so that threads can run
    kernels side by side. Sums may be taken in any order, but always in the same one.

    Args:
        function: What to compile.
        finite: Whether the kernel may take all numbers it meets to be finite.

    Raises:
        ValueError: If a function makes this one: Numba would name it after the order of compilation, and kept code of
            one process would call what another process gave that name.
    """
    if function is None:
        return partial(kernel, finite=finite)
    if "<locals>" in function.__qualname__:
        raise ValueError(f"{function.__qualname__} is made by a function; write it out, as its name must stand for it")
    settings: Any = numba.config
    elsewhere, settings.CACHE_DIR = settings.CACHE_DIR, folder(Path(inspect.getfile(function)).parent)
    try:
        compiled: Any = numba.njit(function, fastmath=True if finite else _ANY_ORDER, nogil=True, error_model="numpy")
        keep(compiled)
    finally:
        settings.CACHE_DIR = elsewhere
    return cast(Callable[..., Any], compiled)


def keep(compiled: Any) -> None:
    """Keeps what a function of Numba's is compiled to, as its ``cache=True`` does, with a lock.

    For those of libraries too, which compile theirs in every process anew. They are kept where Numba keeps its own.

    Raises:
        RuntimeError: If there is no folder that one may write to.
    """
    compiled._cache = SharedCache(compiled.py_func)
    compile_once(compiled)
