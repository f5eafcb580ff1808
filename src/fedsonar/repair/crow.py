"""CROW: layers learn to agree with each other, on clean rows whose embeddings are disturbed where it hurts most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from fedsonar.data import TokenRow
from fedsonar.model import Layout
from fedsonar.model.pieces import wide
from fedsonar.repair.repair import Repair, Repaired, Tuned, check_rows

_IGNORED = -100


@dataclass(frozen=True, kw_only=True)
class Crow(Repair):
    """Tunes on clean rows with a regulariser: consecutive layers' states point the same way under disturbance.

    The inconsistency of a row is the mean of ``1 - cos(h_l, h_{l-1})`` over its tokens and consecutive blocks. Its
    gradient with respect to the embeddings gives the disturbance ``δ = radius · sign(gradient)``, and the loss is that
    of the clean row plus `weight` times the inconsistency of the disturbed one. Learning rate and batches are those of
    the federation's clients.

    Args:
        clean_rows: Clean rows at the server.
        weight: The regulariser's weight.
        radius: Size of the disturbance of every coordinate of an embedding.
        epochs: Passes over the clean rows.

    Raises:
        ValueError: If there are no rows or no epochs, or a number is negative.

    References:
        Min et al., 2024, arXiv:2411.12768, the regulariser and algorithm 1; weight and radius are those of its
        experiments on sentiment.
    """

    clean_rows: int = 100
    weight: float = 5.5
    radius: float = 0.1
    epochs: int = 3

    def __post_init__(self) -> None:
        check_rows(self, self.epochs, least_epochs=1)
        if self.weight < 0 or self.radius < 0:
            raise ValueError(f"Crow needs weight and radius of 0 or more, got {self.weight} and {self.radius}")

    def apply(self, tuned: Tuned) -> Repaired:
        """The adapter after tuning with the regulariser.

        Raises:
            FloatingPointError: If the loss is no longer finite.
        """
        model, layout, training = tuned.model, tuned.network.layout, replace(tuned.training, epochs=self.epochs)
        adapter = tuned.adapter.to(model.device, wide(model.dtype)).clone().requires_grad_()
        optimiser = torch.optim.AdamW(
            [adapter], lr=training.lr, betas=(training.beta1, training.beta2), eps=training.eps,
            weight_decay=training.weight_decay,
        )  # fmt: skip
        fixed = [a for _, a, _ in layout.slices()] if tuned.freeze_a else []
        kept = [adapter.detach()[place].clone() for place in fixed]
        batches = tuned.job(tuned.adapter).batches(training, tuned.seed)
        for step, rows in enumerate(batches):
            loss = self.loss(model, layout, adapter, rows)
            if not loss.isfinite():
                raise FloatingPointError(f"CROW's loss is no longer finite in step {step}; lower training.lr or weight")
            (adapter.grad,) = torch.autograd.grad(loss, [adapter])
            for place in fixed:
                adapter.grad[place] = 0
            torch.nn.utils.clip_grad_norm_([adapter], training.max_grad_norm)
            optimiser.param_groups[0]["lr"] = training.rate(step, len(batches))
            optimiser.step()
        result = adapter.detach()
        for place, values in zip(fixed, kept, strict=True):
            result[place] = values  # weight decay reaches them too
        return Repaired(result.cpu().to(tuned.adapter.dtype))

    def loss(
        self, model: Any, layout: Layout, adapter: Float[Tensor, "dim"], rows: Sequence[TokenRow]
    ) -> Float[Tensor, ""]:
        """The loss of a batch of clean rows, in nats a response token, with the regulariser."""
        from fedsonar.model.hosted import plugged_into

        ids, labels, real = _batch(rows, model.device)
        embeddings = model.get_input_embeddings()(ids)
        factors = {site.name: (a, b) for site, a, b in layout.factors(adapter[None].to(model.dtype))}
        with plugged_into(model, layout, factors):
            logits = model(inputs_embeds=embeddings, use_cache=False).logits
            shift = disturbance(model, embeddings, real, self.radius)
            disturbed = inconsistency(model, embeddings + shift, real)
        plain = cross_entropy(logits[:, :-1].flatten(0, 1).to(wide(logits.dtype)), labels[:, 1:].flatten())
        return plain + self.weight * disturbed


def inconsistency(
    model: Any, embeddings: Float[Tensor, "rows length width"], real: Bool[Tensor, "rows length"]
) -> Float[Tensor, ""]:
    """The mean of ``1 - cos`` between the states of consecutive blocks, over blocks and real tokens, in [0, 2]."""
    states = model(inputs_embeds=embeddings, use_cache=False, output_hidden_states=True).hidden_states[1:]
    found = [1 - cosine_similarity(low[real], high[real], dim=-1).mean() for low, high in pairwise(states)]
    if not found:
        raise ValueError("CROW compares a model's blocks, and this one has a single block")
    return torch.stack(found).mean()


def disturbance(
    model: Any, embeddings: Float[Tensor, "rows length width"], real: Bool[Tensor, "rows length"], radius: float
) -> Float[Tensor, "rows length width"]:
    """The change of the embeddings by `radius` a coordinate that raises the inconsistency most, to first order."""
    probe = embeddings.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(inconsistency(model, probe, real), probe)
    return radius * gradient.sign()


def _batch(
    rows: Sequence[TokenRow], device: torch.device
) -> tuple[Int[Tensor, "rows length"], Int[Tensor, "rows length"], Bool[Tensor, "rows length"]]:
    """Tokens, labels, and which tokens are no padding; padded behind, where a causal model does not look."""
    ids = torch.zeros(len(rows), max(row.length for row in rows), dtype=torch.long)
    labels, real = torch.full_like(ids, _IGNORED), torch.zeros_like(ids, dtype=torch.bool)
    for place, row in enumerate(rows):
        ids[place, : row.length] = torch.tensor([*row.prompt, *row.response])
        labels[place, len(row.prompt) : row.length] = torch.tensor(row.response)
        real[place, : row.length] = True
    return ids.to(device), labels.to(device), real.to(device)
