"""Refusal of updates that no rule can aggregate."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.columns import as_matrix
from fedsonar.aggregate.norms import row_norms
from fedsonar.aggregate.rule import Aggregator, RoundContext

LARGEST_NORM = 1e150
"""Beyond it squared distances overflow float64; only float64 updates can get there."""


def unit_weights(rule: Aggregator, context: RoundContext) -> Float[np.ndarray, "clients"]:
    """The context's weights in float64, made to sum to 1 exactly where rounding had left a little.

    Raises:
        ValueError: If a weight is negative, or the sum is another; names the rule.
    """
    weights = context.weights.tolist()
    total = sum(weights)
    if not (abs(total - 1) < 1e-4 and min(weights) >= 0):
        raise ValueError(
            f"{type(rule).__name__} needs weights of at least 0 that sum to 1, got a sum of {total:g} and a least "
            f"weight of {min(weights):g}: divide the clients' row counts by their total"
        )
    weights_N: Float[np.ndarray, "clients"] = np.array([weight / total for weight in weights])
    return weights_N


def suspected(rule: str, f: int | None, n: int, margin: int = 0) -> int:
    """The number of suspected clients: `f`, or a fifth of the clients (rounded down) when it is None.

    Raises:
        ValueError: If ``2 f + margin < n`` does not hold; names the rule.
    """
    f = n // 5 if f is None else f
    if 2 * f + margin >= n:
        needs = f"2f + {margin}" if margin else "2f"
        raise ValueError(
            f"{rule} needs {needs} < n, got f={f} and n={n} clients: bring at least {2 * f + margin + 1}"
            + or_lower((n - margin - 1) // 2)
        )
    return f


def or_lower(most: int, least: int = 0) -> str:
    """The other remedy against too few clients, where there is one: fewer suspected ones.

    Args:
        most: The greatest f that so many clients bear.
        least: The least that the rule takes.
    """
    return f" or lower f to {most}" if most >= least else ""


def check_updates(updates_ND: Tensor, context: RoundContext) -> Float[Tensor, "clients"]:
    """The updates' norms, when these are a finite floating-point matrix, one row for each client of the context.

    Every rule calls it first, so that a rule never returns NaN.

    Raises:
        ValueError: If the round is empty, a shape or dtype is wrong, or an update is not finite; the message names
            the client.
    """
    check_round(updates_ND, context)
    norms_N = row_norms(updates_ND)
    for client, norm in zip(context.clients, norms_N.tolist(), strict=True):
        if not norm <= LARGEST_NORM:
            raise ValueError(f"the update of client {client} is not finite (norm {norm:g}): leave it out of the round")
    return norms_N


def check_result(means_MD: Float[Tensor, "means dim"], updates_ND: Tensor, context: RoundContext) -> None:
    """Returns when means of updates are finite; for means in which every update has a part, and a rule with no norms.

    What is not finite in an update makes its means so too: all updates are looked at only to say whose it is.

    Raises:
        ValueError: If an update is not finite; the message names the client.
    """
    if not np.isfinite(as_matrix(means_MD)).all():  # PyTorch would wake up its threads for it
        check_updates(updates_ND, context)


def check_round(updates_ND: Tensor, context: RoundContext) -> None:
    """Returns when the updates are a floating-point matrix, one row for each client of the context, finite or not.

    Raises:
        ValueError: If the round is empty, or a shape or dtype is wrong.
    """
    shape = updates_ND.shape
    if len(shape) != 2:
        raise ValueError(f"updates must be a matrix of clients by coordinates, got shape {tuple(shape)}")
    if not updates_ND.is_floating_point():
        raise ValueError(f"updates must be floating point, got {updates_ND.dtype}: convert them with .float()")
    num_updates, num_clients, num_weights = shape[0], len(context.clients), context.weights.shape[0]
    if num_updates == 0:
        raise ValueError("a round needs at least 1 update, got 0")
    if not num_updates == num_clients == num_weights:
        raise ValueError(
            f"got {num_updates} updates, {num_clients} clients and {num_weights} weights: give one of each a client"
        )
