"""Tables for counting in one place: a byte a counter, and apart the few that hold more."""

from __future__ import annotations

from collections import namedtuple
from functools import cached_property

import numpy as np
from jaxtyping import Int, UInt8

from fedsonar.audit.kernels.tables import FULL, Sparse, sparse

Short = namedtuple("Short", "counts large")
"""Counters in a byte each, the largest as `FULL`; and exactly what those hold."""


class Little:
    """Counters in a byte each: in a quarter of the room that silos' counts need, which have to add up.

    Args:
        bits: There are ``2^bits``.
    """

    def __init__(self, bits: int) -> None:
        self.counts: UInt8[np.ndarray, "places"] = np.zeros(1 << bits, np.uint8)
        self._again: list[Int[np.ndarray, "_"]] = []

    def note(self, places: Int[np.ndarray, "_"]) -> None:
        """Takes notice of the counters that have begun anew from 0, each as often as it has."""
        self._again.append(places)

    def short(self) -> Short:
        """What was counted, with nearly all of it in the table of bytes; nothing may be counted after this."""
        return Short(self.counts, self.sparse(FULL))

    def sparse(self, least: int) -> Sparse:
        """The counters that hold so much, `FULL` at most; nothing may be counted after this."""
        places, exact = self._large
        table: Sparse = sparse(self.counts, least)
        words, before = table.lines[2 * (places >> 6)], table.lines[2 * (places >> 6) + 1]
        below = words & ((np.uint64(1) << (places & 63).astype(np.uint64)) - np.uint64(1))
        table.values[before.astype(np.int64) + np.bitwise_count(below)] = exact
        return table

    @cached_property
    def _large(self) -> tuple[Int[np.ndarray, "large"], Int[np.ndarray, "large"]]:
        """The counters that have begun anew, which are full from now on, and what they hold."""
        places, times = np.unique(np.concatenate([np.zeros(0, np.int64), *self._again]), return_counts=True)
        exact = self.counts[places] + (FULL + 1) * times
        self.counts[places] = FULL
        return places, exact
