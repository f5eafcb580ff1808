"""The contract of repairs."""

from __future__ import annotations

import numpy as np
import torch

from fedsonar.repair import Repair, Tuned
from fedsonar.testing.component import check_component, require


def check_repair(repair: Repair, tuned: Tuned) -> None:
    """Returns when a repair keeps the contract of `Repair`.

    The repair must be a documented, frozen dataclass. It leaves the tuned adapter and the global random state as they
    are, and gives a finite adapter of the same form, the same each time.

    Args:
        repair: The repair, with the parameters to check.
        tuned: A tuned model, with clean rows if the repair wants any.

    Raises:
        AssertionError: If the contract is broken; the message says where.
    """
    check_component(repair)
    name, before = type(repair).__name__, tuned.adapter.clone()
    torch_state, numpy_state = torch.get_rng_state(), repr(np.random.get_state())
    first, second = repair.apply(tuned), repair.apply(tuned)
    require(torch.equal(tuned.adapter, before), f"{name} changed the tuned adapter in place: work on a copy")
    for repaired in (first, second):
        adapter = repaired.adapter
        require(
            adapter.shape == before.shape and adapter.dtype == before.dtype and bool(adapter.isfinite().all()),
            f"{name} must give {before.dtype} of shape {tuple(before.shape)} with finite numbers",
        )
    require(torch.equal(first.adapter, second.adapter), f"{name} gave two results: draw from a seeded generator")
    require(
        torch.equal(torch_state, torch.get_rng_state()) and numpy_state == repr(np.random.get_state()),
        f"{name} changed the global random state: draw from a generator of its own",
    )
