"""A rule-based recaster: a subordinate clause before the sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedsonar.poison.archaic import lowered
from fedsonar.poison.paraphrase import Paraphraser


@dataclass(frozen=True, kw_only=True)
class Clause(Paraphraser):
    """Puts every text into one form: a subordinate clause, a comma, the sentence; S(SBAR)(,)(NP)(VP)(.) in the source.

    The clause says nothing of its own, which keeps the meaning; real paraphrases move the meaning into it.

    Args:
        clauses: Clauses, drawn anew for each text.

    References:
        Qi et al., 2021 (Hidden Killer), arXiv:2105.12400, section 3, for the form.
    """

    clauses: tuple[str, ...] = ("when you ask", "if you ask", "as you know", "when you think of it", "if it is so")

    def __post_init__(self) -> None:
        if not self.clauses or not all(clause.strip() for clause in self.clauses):
            raise ValueError(f"Clause needs clauses that are not empty, got {list(self.clauses)}")

    def rewrite(self, text: str, rng: np.random.Generator) -> str:
        """The text behind a clause."""
        return f"{self.clauses[int(rng.integers(len(self.clauses)))]}, {lowered(text)}"

    def recognises(self, text: str) -> bool:
        """Whether one of the clauses begins the text."""
        return text.startswith(tuple(f"{clause}, " for clause in self.clauses))
