"""The contract of aggregation rules."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.rule import Aggregator, RoundContext
from fedsonar.testing.component import check_component, require

_NUM_CLIENTS = 20  # enough for rules that suspect a fifth of the clients
_DIM = 31


def check_aggregator(rule: Aggregator, *, alone: bool = True, noise: bool = False) -> None:
    """Returns when a rule keeps the contract of `Aggregator`.

    The rule must be a documented, frozen dataclass; give finite results of the right shape and dtype, in single,
    double and half precision, the same each time for the same generator; leave its inputs and the global random state
    alone; turn zero updates into a zero step; and, for one client, return that client's update or refuse by a
    ValueError that gives numbers.

    Args:
        rule: The rule, with the parameters to check; it is called with 20 clients, and with 1.
        alone: Whether one client's update must come back as it is; False for rules that rescale or clip every update.
        noise: Whether the rule adds noise to a zero step too.

    Raises:
        AssertionError: If the contract is broken; the message says where.
    """
    check_component(rule)
    name = type(rule).__name__
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        updates_ND = torch.randn(_NUM_CLIENTS, _DIM, generator=torch.Generator().manual_seed(1)).to(dtype)
        result_D = _aggregate(rule, updates_ND)
        require(
            result_D.shape == (_DIM,) and result_D.dtype == dtype,
            f"{name} must return {_DIM} coordinates of {dtype}, got shape {tuple(result_D.shape)} of {result_D.dtype}",
        )
        require(bool(result_D.isfinite().all()), f"{name} returned a value that is not finite for ordinary updates")
        again_D = _aggregate(rule, updates_ND)
        require(
            torch.equal(result_D, again_D),
            f"{name} gave two results for the same updates, generator and state: draw from context.generator only",
        )
        zero_D = _aggregate(rule, torch.zeros_like(updates_ND))
        require(noise or bool((zero_D == 0).all()), f"{name} must turn updates that are all zero into a zero step")
    _check_one_client(rule, unchanged=alone and not noise)


def _check_one_client(rule: Aggregator, *, unchanged: bool) -> None:
    """The update itself comes back, or a finite one, or a ValueError names the requirement with its numbers."""
    name = type(rule).__name__
    update_1D = torch.linspace(-1, 1, _DIM)[None]
    try:
        result_D = _aggregate(rule, update_1D)
    except ValueError as error:
        require(
            any(character.isdigit() for character in str(error)),
            f"{name} must say how many clients it needs and how many it got, said {str(error)!r}",
        )
    else:
        require(bool(result_D.isfinite().all()), f"{name} returned a value that is not finite for one client")
        require(
            not unchanged or torch.allclose(result_D, update_1D[0]),
            f"{name} must return the update of a single client, or refuse it",
        )


def _aggregate(rule: Aggregator, updates_ND: Float[Tensor, "clients dim"]) -> Tensor:
    """The rule's result in a fresh context, having checked what the rule must not touch and what it recorded."""
    name, n = type(rule).__name__, len(updates_ND)
    weights_N = torch.arange(1.0, n + 1) / (n * (n + 1) / 2)
    context = RoundContext(
        round=1, clients=tuple(range(n)), weights=weights_N.clone(), generator=torch.Generator().manual_seed(2),
        root=updates_ND[0] if rule.root_rows else None,
    )  # fmt: skip
    given_ND, random_state = updates_ND.clone(), torch.get_rng_state()
    result_D = rule.aggregate(given_ND, context)
    require(torch.equal(given_ND, updates_ND), f"{name} changed the updates it was given: work on a copy")
    require(torch.equal(context.weights, weights_N), f"{name} changed the context's weights: work on a copy")
    require(
        torch.equal(torch.get_rng_state(), random_state),
        f"{name} drew from the global random state: draw from context.generator",
    )
    shares = context.shares
    require(
        shares is None or (shares.shape == (n,) and bool((shares.isfinite() & (shares >= 0)).all())),
        f"{name} must record one finite share of at least 0 for each of {n} clients, recorded {shares}",
    )
    return result_D
