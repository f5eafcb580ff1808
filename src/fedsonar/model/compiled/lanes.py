"""Threads that each do a share of the work from beginning to end, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Share = TypeVar("Share")
Done = TypeVar("Done")


class Lanes:
    """As many threads as PyTorch may use; in each of them PyTorch itself uses one.

    Threads that go their own ways do not wait for one another after every product, and each keeps what it works on in
    its own cache.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._size = 0

    @property
    def count(self) -> int:
        """How many threads there are."""
        return torch.get_num_threads()

    def each(self, work: Callable[[Share], Done], shares: Sequence[Share]) -> list[Done]:
        """The results for all shares, in their order; a single share is done here, with all of PyTorch's threads."""
        count = self.count
        if count == 1 or len(shares) < 2:
            return [work(share) for share in shares]
        if self._pool is None or self._size != count:
            self._pool = ThreadPoolExecutor(count, "fedsonar-lane", torch.set_num_threads, (1,))
            self._size = count
        torch.set_num_threads(1)
        try:
            return list(self._pool.map(work, shares))
        finally:
            torch.set_num_threads(count)


def shared_out(sizes: Sequence[int], lanes: int) -> list[list[int]]:
    """Places in `sizes` for each lane, so that lanes have about equally much; in order, and no lane is empty."""
    shares: list[list[int]] = [[] for _ in range(lanes)]
    loads = [0] * lanes
    for place in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
        lane = loads.index(min(loads))
        shares[lane].append(place)
        loads[lane] += sizes[place]
    return [sorted(share) for share in shares if share]
