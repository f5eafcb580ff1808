"""The server's part of a round: sorting out updates, applying the rule in its space, taking the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate import Aggregator, Matrix, RoundContext, refusals
from fedsonar.experiment import Experiment
from fedsonar.model import Layout, space_of
from fedsonar.records import Update
from fedsonar.rng import torch_stream


@dataclass(frozen=True)
class Aggregated:
    """What became of a round's updates.

    Args:
        step: The step of the flat adapter.
        length: L2 norm of the rule's result, in the experiment's space.
        lost: Share of that length that rank r could not hold; None in spaces that lose nothing.
        kept: The updates that the rule saw.
        weights: The weights offered to the rule, one for each of them.
        lengths: Their L2 norms, in the experiment's space.
        shares: How much the rule counted each of them; None where it treats coordinates apart.
        refused: The other updates, each with the reason.
    """

    step: Float[Tensor, "dim"]
    length: float
    lost: float | None
    kept: list[Update]
    weights: Float[Tensor, "clients"]
    lengths: list[float]
    shares: list[float] | None
    refused: list[tuple[Update, str]]


def check_clients(rule: Aggregator, clients: int) -> None:
    """Returns when a rule can do with so many clients a round, which it is asked with updates that change nothing.

    Raises:
        ValueError: If they are too few for the rule, or what it gives is no step.
    """
    side = 4
    weights = torch.full((clients,), 1 / clients)
    root = torch.zeros(side * side) if rule.root_rows else None
    context = RoundContext(1, range(clients), weights, torch_stream(0, "aggregate"), {}, [Matrix(0, side, side)], root)
    _applied(rule, torch.zeros(clients, side * side), context)


def _applied(rule: Aggregator, updates: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
    """What a rule makes of updates, which must have their length."""
    result: object = rule.aggregate(updates, context)
    if isinstance(result, Tensor) and result.shape == updates.shape[1:]:
        return result
    got = f"a tensor of shape {tuple(result.shape)}" if isinstance(result, Tensor) else f"a {type(result).__name__}"
    raise ValueError(f"{type(rule).__name__} must give a tensor of shape {tuple(updates.shape[1:])}, gave {got}")


class Server:
    """Applies an experiment's rule in its space, and carries the rule's state.

    Args:
        experiment: Names rule, space and seed.
        layout: The adapter's layout.
        state: What the rule carries from round to round; changed in place.
    """

    def __init__(self, experiment: Experiment, layout: Layout, state: dict[str, Tensor]) -> None:
        self.rule, self.seed, self.state = experiment.aggregator, experiment.seed, state
        self.least = experiment.min_updates or 1
        self.space = space_of(experiment.space, layout)
        self.matrices = [Matrix(*matrix) for matrix in self.space.matrices]

    def aggregate(
        self, round: int, start: Float[Tensor, "dim"], updates: Sequence[Update], root: Update | None = None
    ) -> Aggregated:
        """The step for a round's updates; those that no rule could use are refused, and the round goes on without.

        Args:
            round: The round's number, from 1.
            start: The adapter that clients started from.
            updates: The clients' updates.
            root: The server's own update, for rules that want one.

        Raises:
            ValueError: If fewer updates are left than `min_updates`, or too few for the rule, or its result has another
                shape than an update; names whose were refused.
            FloatingPointError: If the rule's result is not finite.
        """
        reasons = refusals(updates, len(start))
        refused = [(update, reason) for update, reason in zip(updates, reasons, strict=True) if reason]
        kept = [update for update, reason in zip(updates, reasons, strict=True) if not reason]
        rows = torch.tensor([update.num_rows for update in kept], dtype=torch.float64)
        context = RoundContext(
            round,
            [update.client for update in kept],
            (rows / rows.sum()).float(),
            torch_stream(self.seed, "aggregate", round),
            self.state,
            self.matrices,
            None if root is None else self.space.vectors(start, root.delta[None])[0],
        )
        without = ", ".join(f"client {update.client}: {reason}" for update, reason in refused)
        try:
            if len(kept) < self.least:
                left = f"{len(kept)} of {len(updates)} updates are left" if kept else "no update is left"
                raise ValueError(f"{left}, and min_updates is {self.least}")
            vectors = self.space.vectors(start, torch.stack([update.delta.to(start.dtype) for update in kept]))
            result = _applied(self.rule, vectors, context)
        except ValueError as error:
            note = f" (refused: {without})" if refused else ""
            raise ValueError(f"round {round}: {error}{note}") from error
        if not result.isfinite().all():
            raise FloatingPointError(f"{type(self.rule).__name__} gave a step that is not finite in round {round}")
        step, lost = self.space.step(start, result)
        shares = None if context.shares is None else context.shares.tolist()
        lengths = torch.linalg.vector_norm(vectors, dim=1).tolist()
        return Aggregated(step, float(result.norm()), lost, kept, context.weights, lengths, shares, refused)
