"""Which updates of a round can be aggregated at all."""

from __future__ import annotations

from collections.abc import Sequence

from fedsonar.aggregate.check import LARGEST_NORM
from fedsonar.records import Update


def refusals(updates: Sequence[Update], dim: int) -> list[str]:
    """For each update of a round, why it is refused; empty for those that a rule may see.

    Refused are those that did not come at all, updates of another length or type than the adapter's, updates that are
    not finite, updates that claim no rows, and all but the first of one client's.

    Args:
        updates: The round's updates.
        dim: Length of the flat adapter.
    """
    reasons, seen = [], set()
    for update in updates:
        delta, reason = update.delta, ""
        if update.missing:
            reasons.append(update.missing)
            continue
        if update.client in seen:
            reason = f"a second update of client {update.client} in one round"
        elif tuple(delta.shape) != (dim,):
            reason = f"shape {tuple(delta.shape)} instead of ({dim},)"
        elif not delta.is_floating_point():
            reason = f"type {delta.dtype} instead of floating point"
        elif not float(delta.double().norm()) <= LARGEST_NORM:
            reason = "values that are not finite"
        elif update.num_rows < 1:
            reason = f"{update.num_rows} rows trained on"
        seen.add(update.client)
        reasons.append(reason)
    return reasons
