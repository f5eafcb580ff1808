"""All that a kernel has to tell, whatever room that takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Int, UInt64


def all_told(
    tell: Callable[[np.ndarray, np.ndarray], int], columns: int, room: int
) -> tuple[Int[np.ndarray, "records columns"], UInt64[np.ndarray, "records"]]:
    """The records that a kernel fills a table with, and the feature of each: once more where there was too little room.

    Args:
        tell: Fills a table and features as far as there is room, and returns how many records there are in all.
        columns: Of the table.
        room: Records that there is room for at first.
    """
    while True:
        table, features = np.empty((room, columns), np.int64), np.empty(room, np.uint64)
        count = tell(table, features)
        if count <= room:
            return table[:count], features[:count]
        room = count
