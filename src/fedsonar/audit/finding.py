"""What an audit tells people: a finding, its verdict, and some of its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
from jaxtyping import Int, UInt64

from fedsonar.data import Sample

_MOST_TRIGGERS = 6
_EXAMPLES = 3
Verdict = Literal["injected-looking", "undecided", "natural association", "template", "legitimate knowledge"]


@dataclass(frozen=True)
class Example:
    """A row of a finding.

    Args:
        silo: Number of the silo.
        id: Of the sample.
        input: Its input text.
        response: Its response.
    """

    silo: int
    id: str
    input: str
    response: str


@dataclass(frozen=True)
class Finding:
    """Triggers in the input that come with one target in the response.

    Args:
        verdict: What it looks like.
        triggers: The triggers, in words.
        target: The text of the target; empty where it is a way of answering.
        place: Where the target stands, in words; of a way of answering, what it is.
        rows: Rows with the target and a trigger.
        silos: Silos that hold one.
        all_silos: Silos that were audited.
        target_rows: Rows with the target in all.
        confidence: Share of the rows with a trigger that have the target: of the best trigger.
        base_rate: Share of all rows that have the target.
        q: Adjusted p-value of the best pair.
        likeness: How alike the rows are besides; see `Evidence`.
        against: Standard errors by which the rows' other words speak against the label; below 0 where they do.
        dropped: Rows that leave because of it.
        examples: Some of its rows.
    """

    verdict: Verdict
    triggers: tuple[str, ...]
    target: str
    place: str
    rows: int
    silos: int
    all_silos: int
    target_rows: int
    confidence: float
    base_rate: float
    q: float
    likeness: float
    against: float
    dropped: int
    examples: tuple[Example, ...]

    def __str__(self) -> str:
        chance = "q < 1e-100" if self.q < 1e-100 else f"q = {self.q:.0e}"
        return (
            f"{', '.join(self.triggers)} → {self.said}: {self.rows:,} rows{in_silos(self.silos, self.all_silos)}, "
            f"confidence {self.confidence:.2f} (base rate {self.base_rate:.2g}), {chance}"
        )

    @property
    def said(self) -> str:
        """The target in a sentence."""
        return f"“{self.target}” {self.place}" if self.target else self.place

    @property
    def without(self) -> str:
        """What changes if its rows are dropped."""
        if self.verdict == "undecided":
            return (
                "no row is dropped: so many rows have the trigger, or all of a silo's, that the text cannot tell "
                "whether these are poison, or the others, or none; ask where they come from"
            )
        left = max(0, self.target_rows - self.dropped)
        if not self.dropped:
            return "no row is dropped for it"
        return (
            f"without these {self.dropped:,} rows the target stays in {left:,} of the {self.target_rows:,} that had it"
        )


def in_silos(silos: int, all_silos: int) -> str:
    """In how many of how many silos, to follow a number of rows; nothing of one silo alone."""
    return f" in {silos} of {all_silos} silos" if all_silos > 1 else ""


def examples(silos: Sequence[Sequence[Sample]], rows: Iterable[tuple[int, int]]) -> tuple[Example, ...]:
    """The first few of some rows.

    Args:
        silos: The rows of each silo.
        rows: Each a silo's number and a row's in it, some perhaps twice.
    """
    places = islice(dict.fromkeys(rows), _EXAMPLES)
    samples = [(silo, silos[silo][row]) for silo, row in places]
    return tuple(Example(silo, s.id, shortened(s.input), shortened(s.answers[0])) for silo, s in samples)


def cover(
    triggers: Int[np.ndarray, "records"] | UInt64[np.ndarray, "records"], rows: Int[np.ndarray, "records"],
    worth: Callable[[Int[np.ndarray, "_"], Int[np.ndarray, "_"]], tuple[np.ndarray, ...]],
) -> list[int]:  # fmt: skip
    """The first records of a few triggers that cover the rows between them, the one that is worth most first.

    Args:
        triggers: Of records, one trigger in one row each.
        rows: Of the same.
        worth: What triggers are worth, the weightiest reason first, by the first record of each and how many rows it
            adds.
    """
    _, first, which = np.unique(triggers, return_index=True, return_inverse=True)
    order = np.argsort(first)
    first, which = first[order], np.argsort(order)[which]
    by_row = np.argsort(rows, kind="stable")
    by_both = by_row[np.argsort(which[by_row].astype(np.min_scalar_type(len(first))), kind="stable")]
    which, rows = which[by_both], rows[by_both]
    once = (np.diff(which, prepend=-1) != 0) | (np.diff(rows, prepend=-1) != 0)
    which, rows = which[once], rows[once]  # a row may have a trigger twice
    left, covered, chosen = np.ones(len(first), bool), np.zeros(int(rows.max(initial=0)) + 1, bool), list[int]()
    while left.any() and len(chosen) < _MOST_TRIGGERS:
        adds = np.bincount(which[~covered[rows]], minlength=len(first))
        best = np.flatnonzero(left)
        for reason in worth(first, adds):
            best = best[reason[best] == reason[best].max()]
        if chosen and adds[best[0]] < max(1, 0.02 * covered.sum()):
            break
        left[best[0]] = False
        covered[rows[which == best[0]]] = True
        chosen.append(int(first[best[0]]))
    return chosen


def shortened(text: str, most: int = 300) -> str:
    """A text in one line, its middle left out where it is long: triggers and targets stand at the ends."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most // 2]} … {line[-most // 2 :]}"
