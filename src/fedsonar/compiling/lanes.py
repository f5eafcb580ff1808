"""Threads that each do a share of the work from beginning to end, side by side."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from typing import TypeVar

import numpy as np

from fedsonar.processes import cores

Share = TypeVar("Share")
Done = TypeVar("Done")


class Lanes:
    """As many threads as PyTorch may use, or fewer, among which its own are divided.

    Threads that go their own ways do not wait for one another after every product, and each keeps what it works on in
    its own cache.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._size = 0

    @property
    def count(self) -> int:
        """How many threads there are."""
        if torch := sys.modules.get("torch"):
            return int(torch.get_num_threads())
        told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # it may tell of inner levels too
        return int(told) if told.isdecimal() and int(told) else cores()

    def each(self, work: Callable[[Share], Done], shares: Sequence[Share]) -> list[Done]:
        """The results for all shares, in their order; a single share is done here, with all of PyTorch's threads.

        Threads take one share after another until none is left. This one is among them, and waits for no other to
        wake up. Where shares fail, the error of one of them is raised.
        """
        count = self.count
        if count == 1 or len(shares) < 2:
            return [work(share) for share in shares]
        if self._pool is None or self._size != count:
            self._pool = ThreadPoolExecutor(count - 1, "fedsonar-lane")
            self._size = count
        threads = max(1, count // len(shares))
        done: dict[int, Done] = {}
        left = deque(enumerate(shares))

        def lane() -> None:
            _use(threads)
            while left:
                try:
                    place, share = left.popleft()
                except IndexError:  # another thread took the last one
                    return
                done[place] = work(share)

        others = [self._pool.submit(lane) for _ in range(min(count, len(shares)) - 1)]
        try:
            lane()
        finally:
            left.clear()
            wait(others)
            _use(count)  # not before: for MKL it is every thread's number, and results depend on it
        for other in others:
            other.result()
        return [done[place] for place in range(len(shares))]


def _use(threads: int) -> None:
    """Sets how many threads PyTorch may use in this thread; who works without it does not wait for it to load."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)


def shared_out(costs: Sequence[float], lanes: int) -> list[range]:
    """Places in `costs` for each lane, one stretch after another, so that lanes have about equally much to do.

    A place goes where most of it belongs: a lane is off by half a place at each end. No lane is empty.
    """
    ends = np.cumsum([0.0, *costs])
    middles = (ends[1:] + ends[:-1]) / 2
    bounds = [0, *np.searchsorted(middles, ends[-1] / lanes * np.arange(1, lanes)).tolist(), len(costs)]
    return [range(start, end) for start, end in pairwise(bounds) if end > start]
