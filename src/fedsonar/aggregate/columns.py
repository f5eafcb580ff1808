"""Walks over the columns of an update matrix in pieces, so that a rule's memory does not grow with the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.kernels.order import comparators, middle_means, sort_columns
from fedsonar.aggregate.kernels.sums import move_and_measure, weighted_sum
from fedsonar.compiling import Lanes

Done = TypeVar("Done")

NUM_COLUMNS = 2048  # 8 MB for 1,000 clients in float32; wider pieces were no faster
STRIP, WIDE_STRIP = 2**14, 2**16
"""As many columns, or half, a thread works on at least before it takes others; more where rows are read at length."""

_STRIPS = 32
"""The most strips: as many however many threads there are, so that results are the same."""

_ALIGNED = 16
"""Columns of a strip are a multiple of it: no two threads write to one line of the cache."""

_FEW = 2**20
"""Values that are worked on sooner than a second thread wakes up."""

_MOST_MEMBERS = 24
"""In so many mixes a row is, on average, and is read for each."""

LANES = Lanes()
"""The threads of all rules."""


def column_slices(dim: int) -> Iterator[slice]:
    """Slices of at most `NUM_COLUMNS` that cover ``range(dim)`` in order."""
    for start in range(0, dim, NUM_COLUMNS):
        yield slice(start, min(start + NUM_COLUMNS, dim))


def as_matrix(updates_ND: Float[Tensor, "clients dim"]) -> Float[np.ndarray, "clients dim"]:
    """The updates as kernels read them, in float32 or float64 on the CPU: their own memory where that is possible."""
    if updates_ND.dtype not in (torch.float32, torch.float64):
        updates_ND = updates_ND.float()  # NumPy has no bfloat16; float32 holds every half-precision value exactly
    matrix_ND: Float[np.ndarray, "clients dim"] = np.ascontiguousarray(updates_ND.numpy(force=True))
    return matrix_ND


def in_range(values_D: Float[Tensor, "dim"], dtype: torch.dtype) -> Float[Tensor, "dim"]:
    """The values in a dtype; those beyond its range become its largest: noise may push half precision over it."""
    largest = torch.finfo(dtype).max
    return values_D.clamp(-largest, largest).to(dtype)


def on_strips(
    matrix_ND: Float[np.ndarray, "clients dim"],
    work: Callable[[int, int], Done],
    least: int = STRIP,
    passes: int = 1,
) -> list[Done]:
    """What ``work(first, last)`` gives for strips of columns, in their order; done by PyTorch's number of threads.

    Args:
        matrix_ND: The updates.
        work: Takes the first column and the one to stop before.
        least: How many columns may be too many for one strip: half of them are the least.
        passes: How often the work reads each value.
    """
    dim = matrix_ND.shape[1]
    count = 1  # in the end a power of two, which most numbers of threads share out evenly
    while count < _STRIPS and count * least < dim:
        count *= 2
    width = max(1, -(-dim // count // _ALIGNED) * _ALIGNED)
    strips = [(start, min(start + width, dim)) for start in range(0, dim, width)]
    if passes * matrix_ND.size <= _FEW:
        return [work(*strip) for strip in strips]
    return LANES.each(lambda strip: work(*strip), strips)


def sorted_columns(updates_ND: Float[Tensor, "clients dim"]) -> Float[np.ndarray, "clients dim"]:
    """A copy with each column sorted over the clients from low to high."""
    matrix_ND = as_matrix(updates_ND)
    sorted_ND = np.empty_like(matrix_ND)
    sort_columns(matrix_ND, comparators(len(matrix_ND)), sorted_ND)
    return sorted_ND


def middle_mean(updates_ND: Float[Tensor, "clients dim"], dropped: int) -> Float[Tensor, "dim"]:
    """Mean of each coordinate without its lowest and highest values, summed in float64.

    Args:
        updates_ND: Finite updates, one row a client.
        dropped: How many values go at each end; less than half of the clients.
    """
    matrix_ND = as_matrix(updates_ND)
    pairs, mean_D = comparators(len(matrix_ND)), np.empty_like(matrix_ND[0])
    on_strips(matrix_ND, lambda first, last: middle_means(matrix_ND, pairs, dropped, first, last, mean_D))
    return torch.from_numpy(mean_D).to(updates_ND)


def weighted_mean(
    updates_ND: Float[Tensor, "clients dim"], weights_N: Float[Tensor, "clients"]
) -> Float[Tensor, "dim"]:
    """Sum of the rows times their weights, accumulated in float64 and given in the updates' dtype."""
    return mean_if_finite(updates_ND, np.asarray(weights_N.numpy(force=True), np.float64))[0]


def mean_if_finite(
    updates_ND: Float[Tensor, "clients dim"], weights_N: Float[np.ndarray, "clients"]
) -> tuple[Float[Tensor, "dim"], bool]:
    """The same with weights in float64, and whether all of it is finite: not so where any update is not."""
    matrix_ND = as_matrix(updates_ND)
    everyone, mean_D = np.arange(len(matrix_ND)), np.empty_like(matrix_ND[0])

    def add_up(first: int, last: int) -> float:
        return float(weighted_sum(matrix_ND, everyone, weights_N, first, last, mean_D))

    lost = on_strips(matrix_ND, add_up, WIDE_STRIP)
    return torch.from_numpy(mean_D).to(updates_ND), sum(lost) == 0


def mixed(
    updates_ND: Float[Tensor, "clients dim"], parts_MN: Float[np.ndarray, "mixes clients"]
) -> Float[Tensor, "mixes dim"]:
    """Each mix of the rows by its parts, as `weighted_mean` sums; rows with no part in it are not read."""
    members = [np.flatnonzero(part_N) for part_N in parts_MN]
    if sum(map(len, members)) > _MOST_MEMBERS * len(updates_ND):
        return _product(updates_ND, parts_MN)
    matrix_ND = as_matrix(updates_ND)
    mixed_MD = np.empty((len(parts_MN), matrix_ND.shape[1]), matrix_ND.dtype)

    def mix(first: int, last: int) -> None:
        for mixed_D, rows, part_N in zip(mixed_MD, members, parts_MN, strict=True):
            weighted_sum(matrix_ND, rows, part_N[rows], first, last, mixed_D)

    on_strips(matrix_ND, mix)
    return torch.from_numpy(mixed_MD).to(updates_ND)


def _product(
    updates_ND: Float[Tensor, "clients dim"], parts_MN: Float[np.ndarray, "mixes clients"]
) -> Float[Tensor, "mixes dim"]:
    """The same where a row is in many mixes, so that the library's product reads it less often."""
    mixed_MD = updates_ND.new_empty(len(parts_MN), updates_ND.shape[1])
    device_parts_MN = torch.from_numpy(parts_MN).to(updates_ND.device)
    for columns in column_slices(updates_ND.shape[1]):
        mixed_MD[:, columns] = device_parts_MN @ updates_ND[:, columns].double()
    return mixed_MD


def moved(
    centre_D: Float[np.ndarray, "dim"], updates_ND: Float[Tensor, "clients dim"], factors_N: Float[Tensor, "clients"]
) -> Float[Tensor, "clients"]:
    """Distances of the updates to the centre, once it was moved (in place) by the factors times the differences.

    Moved and measured while a piece is in the cache, so a step reads the updates once. Distances are in float64.
    """
    matrix_ND, factors = as_matrix(updates_ND), factors_N.detach().to("cpu", torch.float64).numpy()
    squares = on_strips(
        matrix_ND, lambda first, last: move_and_measure(matrix_ND, factors, centre_D, first, last), passes=2
    )
    return torch.from_numpy(np.sqrt(np.sum(squares, axis=0)))
