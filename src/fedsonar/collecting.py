"""Python's search for cycles of objects, put off while many are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collecting() -> Iterator[None]:
    """Puts the search for cycles off; also a decorator.

    It looks through all objects again and again while their number grows, which takes longer than making rows does. For
    code that makes no cycles.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
