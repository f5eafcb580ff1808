"""Pruning: the rows of the weights' change that matter least on clean rows are cut, then clean rows close the gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.model.stack import alone
from fedsonar.repair.repair import Repair, Repaired, Tuned, check_rows, check_share


@dataclass(frozen=True, kw_only=True)
class Pruning(Repair):
    """Cuts the least rows of ``ΔW = scale B A``, layer by layer, then tunes on clean rows.

    A row is all that one output of a layer has learnt. What clean rows do not use may be what the backdoor uses.

    Args:
        clean_rows: Clean rows at the server; may be 0 by magnitude and without epochs.
        by: What makes a row little: its ``activation``, the mean ``|ΔW x|`` over the tokens of clean rows, or its
            ``magnitude``, the norm of the row.
        share: Share of each layer's rows to cut. The paper cuts until clean accuracy suffers; half is our choice.
        epochs: Passes over the clean rows afterwards; 0 to prune alone.

    Raises:
        ValueError: If the share is not in [0, 1], or rows are needed and there are none.

    References:
        Liu, Dolan-Gavitt and Garg, 2018, arXiv:1805.12185, sections 3.1 and 3.3, for activation and tuning after it;
        there neurons of a convolution are cut, here those of the change that tuning made.
    """

    clean_rows: int = 100
    by: Literal["activation", "magnitude"] = "activation"
    share: float = 0.5
    epochs: int = 3

    def __post_init__(self) -> None:
        check_share(self, "share", self.share)
        check_rows(self, self.epochs)
        if self.by == "activation" and not self.clean_rows:
            raise ValueError("Pruning by activation needs clean rows: set clean_rows to 1 or more, or by = 'magnitude'")

    def apply(self, tuned: Tuned) -> Repaired:
        """The pruned adapter, tuned."""
        layout = tuned.network.layout
        sizes = activations(tuned) if self.by == "activation" else magnitudes(tuned)
        pruned = tuned.adapter.clone()
        for site, _, b in layout.factors(pruned):
            b[sizes[site.name].argsort(stable=True)[: round(self.share * site.out_features)]] = 0
        return Repaired(tuned.trained(pruned, self.epochs))


def magnitudes(tuned: Tuned) -> dict[str, Float[Tensor, "out"]]:
    """The norm of each row of ``B A``, by site."""
    return {site.name: (b @ a).norm(dim=1) for site, a, b in tuned.network.layout.factors(tuned.adapter)}


@torch.no_grad()
def activations(tuned: Tuned) -> dict[str, Float[Tensor, "out"]]:
    """The mean of ``|B A x|`` over the tokens of clean rows, by site."""
    from fedsonar.model.hosted import plugged_into

    layout, model = tuned.network.layout, tuned.model
    factors = alone(layout, tuned.adapter.to(model.device), torch.float32)
    sums = {site.name: torch.zeros(site.out_features) for site in layout.sites}

    def watch(name: str) -> Any:
        (a,), (b,) = factors[name]

        def see(_: Any, inputs: tuple[Tensor, ...]) -> None:
            sums[name] += (inputs[0].float().flatten(0, -2) @ a.T @ b.T).abs().sum(0).cpu()

        return see

    # The layers themselves are watched, below the adapters that are put around them.
    handles = [model.get_submodule(site.name).register_forward_pre_hook(watch(site.name)) for site in layout.sites]
    try:
        with plugged_into(model, layout, alone(layout, tuned.adapter.to(model.device), model.dtype)):
            for row in tuned.rows:  # one at a time: padding would count
                model(input_ids=torch.tensor([[*row.prompt, *row.response]], device=model.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    tokens = sum(row.length for row in tuned.rows)
    return {name: total / tokens for name, total in sums.items()}
