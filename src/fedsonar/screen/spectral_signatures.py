"""SpectralSignatures: rows far out along the direction in which representations vary most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from fedsonar.audit import summed
from fedsonar.screen.representation import State, representations
from fedsonar.screen.screen import Screen, Silo, Tables
from fedsonar.screen.threshold import Top
from fedsonar.screen.tuning import Tuning

_UNIT = 2.0**-20
"""Sums leave a client as whole numbers of this, so that they can be summed securely."""
_EDGES = np.geomspace(1e-9, 1e6, 2048)
"""Where scores, over the variance along the direction, are told apart when they are counted."""


@dataclass(frozen=True, kw_only=True)
class SpectralSignatures(Screen):
    """Suspects rows by their squared projection on the top singular direction of centred representations.

    The published method looks at one label's inputs at a time; responses have no labels, so all rows are one class
    (ours). As published it flags 1.5 times the share of poison it is told to expect, whether there is poison or not.

    Pooled (ours), clients send sums of representations and of their products, so that the direction is that of all
    rows of the federation, and then how many of their scores lie in each of 2,047 ranges, so that 1.5 eps of the whole
    federation are cut: clients without poison lose fewer rows than those with it.

    Args:
        eps: Greatest share of poison that is expected, in (0, 1).
        pooled: Whether direction and cut are those of the federation, or each client's own.
        tuning: The training on the client's rows, poison and all, that makes it visible; ours, short and by LoRA,
            where the paper has a model trained in full. ``Tuning(epochs=0)`` looks with the round's model as it is.
        state: Which hidden state stands for a row.

    References:
        Tran, Li and Madry, 2018, "Spectral signatures in backdoor attacks", arXiv:1811.00636, algorithm 1.
    """

    eps: float = 0.1
    pooled: bool = False
    tuning: Tuning = field(default_factory=Tuning)
    state: State = "last"

    def __post_init__(self) -> None:
        if not 0 < self.eps < 1:
            raise ValueError(f"eps must be between 0 and 1, got {self.eps}")

    @property
    def share(self) -> float:
        """Of rows that are flagged."""
        return min(1.0, 1.5 * self.eps)

    @property
    def passes(self) -> int:
        """Two where the federation is heard: the direction, and the cut."""
        return 2 * self.pooled

    @property
    def additive(self) -> bool:
        """Sums and counts add up."""
        return True

    def summarize(self, silo: Silo, heard: Sequence[Tables]) -> Tables:
        """Sums of representations and their products, then counts of scores; see `Screen.summarize`."""
        x = representations(silo, self.state, self.tuning)
        if heard:
            return {"scores": self._counts(_scores(x, heard[0]), float(heard[0]["variance"]))}
        return {"sum": _whole(x.sum(0)), "products": _whole(x.T @ x), "rows": np.array([len(x)])}

    def merge(self, summaries: Sequence[Tables], heard: Sequence[Tables]) -> Tables:
        """Mean and direction, then the cut; see `Screen.merge`."""
        total = summed(summaries)
        if heard:
            above = np.cumsum(total["scores"][::-1])[::-1]
            allowed = np.flatnonzero(above <= self.share * above[0] + 0.5)
            edge = np.concatenate([[0.0], _EDGES, [np.inf]])[allowed[0] if len(allowed) else -1]
            return {"cut": np.array(edge * max(float(heard[0]["variance"]), np.finfo(float).tiny))}
        rows = int(total["rows"][0])
        mean = total["sum"] * _UNIT / rows
        return _leading(mean, total["products"] * _UNIT / rows - np.outer(mean, mean))

    def suspicion(self, silo: Silo, heard: Sequence[Tables]) -> Float[np.ndarray, "rows"]:
        """Squared projections; see `Screen.suspicion`."""
        x = representations(silo, self.state, self.tuning)
        told = heard[0] if heard else _leading(x.mean(0), np.cov(x, rowvar=False, bias=True))
        return _scores(x, told)

    def flag(self, suspicion: Float[np.ndarray, "rows"], heard: Sequence[Tables]) -> Bool[np.ndarray, "rows"]:
        """The federation's most suspect rows, or the client's own; see `Screen.flag`."""
        if heard:
            return suspicion >= float(heard[1]["cut"])
        return Top(share=self.share).flag(suspicion)

    @staticmethod
    def _counts(scores: Float[np.ndarray, "rows"], variance: float) -> np.ndarray:
        places = np.searchsorted(_EDGES, scores / variance if variance else scores, "right")
        return np.bincount(places, minlength=len(_EDGES) + 1)


def _whole(numbers: np.ndarray) -> np.ndarray:
    return np.round(numbers / _UNIT).astype(np.int64)


def _leading(mean: Float[np.ndarray, "width"], covariance: Float[np.ndarray, "width width"]) -> Tables:
    """The direction of most variance about the mean."""
    values, vectors = np.linalg.eigh(np.atleast_2d(covariance))
    return {"mean": mean, "direction": vectors[:, -1], "variance": np.array(max(0.0, values[-1]))}


def _scores(x: Float[np.ndarray, "rows width"], told: Tables) -> Float[np.ndarray, "rows"]:
    scores: Float[np.ndarray, "rows"] = ((x - told["mean"]) @ told["direction"]) ** 2
    return scores
