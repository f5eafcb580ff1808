"""Trees of several clients one after another, without any padding between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from fedsonar.model.tree import TokenTree


@dataclass(frozen=True, slots=True)
class Queries:
    """The places at which a block answers.

    Args:
        places: Their tokens, in order.
        positions: Each one's position in its row.
        segments: First query, one past the last, place of the adapter and place of the gradient of each tree.
        chains: First token, one past the last, the token before the first (or -1), the depth of the first, first query
            and one past the last of each run of tokens that follow each other.
    """

    places: Int[np.ndarray, "queries"]
    positions: Int[np.ndarray, "queries"]
    segments: Int[np.ndarray, "trees 4"]
    chains: Int[np.ndarray, "chains 6"]


@dataclass(frozen=True, slots=True)
class Pack:
    """Trees one after another, and where in them response tokens are predicted.

    Args:
        ids: Tokens.
        everywhere: All tokens as queries.
        predicting: The tokens that predict something as queries.
        predictors: Which of the latter predicts each response token.
        labels: The response tokens.
        weights: Of each response token's loss.
        owners: The tree of each response token.
        longest: Most tokens of a row.
    """

    ids: Int[np.ndarray, "tokens"]
    everywhere: Queries
    predicting: Queries
    predictors: Int[np.ndarray, "responses"]
    labels: Int[np.ndarray, "responses"]
    weights: Float[np.ndarray, "responses"]
    owners: Int[np.ndarray, "responses"]
    longest: int

    @property
    def positions(self) -> Int[np.ndarray, "tokens"]:
        """Each token's position in its row."""
        return self.everywhere.positions

    @property
    def segments(self) -> Int[np.ndarray, "trees 4"]:
        """As in `Queries`, over all tokens."""
        return self.everywhere.segments

    def queries_of(self, *, last: bool) -> Queries:
        """The places at which the last block answers, or any other."""
        return self.predicting if last else self.everywhere

    @classmethod
    def of(cls, trees: Sequence[TokenTree], places: Int[np.ndarray, "trees 2"], weights: Sequence[float]) -> Pack:
        """The pack of some trees, each with the places of its adapter and gradient, and the weight of its losses."""
        starts = np.cumsum([0, *(len(tree.ids) for tree in trees)])
        beginning = list(zip(trees, starts.tolist(), strict=False))
        positions = np.concatenate([tree.depths for tree in trees])
        branches = [
            (start + first, start + node if node >= 0 else -1)
            for tree, start in beginning
            for first, node in tree.branches
        ]
        firsts, before = np.array(branches).T
        ends = np.append(firsts[1:], starts[-1])
        runs = np.column_stack([firsts, ends, before, positions[firsts]])
        predictors = np.concatenate([np.array(tree.predictors) + start for tree, start in beginning])
        predicting, predictors = np.unique(predictors, return_inverse=True)

        def queries(tokens: Int[np.ndarray, "queries"]) -> Queries:
            bounds = np.searchsorted(tokens, starts)
            chains = np.column_stack([runs, np.searchsorted(tokens, firsts), np.searchsorted(tokens, ends)])
            return Queries(tokens, positions[tokens], np.column_stack([bounds[:-1], bounds[1:], places]), chains)

        counts = [len(tree.labels) for tree in trees]
        return cls(
            ids=np.concatenate([tree.ids for tree in trees]),
            everywhere=queries(np.arange(starts[-1])),
            predicting=queries(predicting),
            predictors=predictors,
            labels=np.concatenate([tree.labels for tree in trees]),
            weights=np.repeat(np.array(weights, dtype=np.float64), counts),
            owners=np.repeat(np.arange(len(trees)), counts),
            longest=int(positions.max()) + 1,
        )
