"""What papers say of their screens, beside what we measure in the setting that comes nearest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from screen_cells import PUBLISHED, QUESTION_SETS, RATE, RATES, Cell
from tables import markdown

Kept = dict[tuple[str, str], dict[str, Any]]
"""Cell and screen -> what was found."""
_GRAD_SENTRY, _PROTEGO_FED = "GradSentry, arXiv:2605.26574", "ProtegoFed, arXiv:2603.00516"
_SETS = ("webqa", "freebaseqa", "coqa", "nq")
"""In the papers' order."""
F1 = {
    "webqa": (71.5, 73.4, 69.7, 71.1), "freebaseqa": (99.8, 99.9, 99.9, 99.9),
    "coqa": (99.6, 99.7, 99.7, 99.7), "nq": (97.6, 97.7, 97.4, 97.5),
}  # fmt: skip
"""GradSentry's, in %, by data set and trigger in the order of `PUBLISHED`; its recall is 100 in all of them."""
KEPT = {
    "GradSentry": (89.4, 99.94, 99.94, 99.4), "GraCeFul": (52.5, 95.7, 77.6, 91.7), "Cube": (79.5, 66.2, 56.8, 91.2),
}  # fmt: skip
"""Rows that a screen keeps where nothing is planted, in %, as GradSentry's paper has them, by `_SETS`."""
LOW_RATES = 82.4
"""GradSentry's mean F1, in %, at rates of 5 % and less."""
PROTEGO_FED = {
    "webqa": (99.4, 85.0, 81.9, 88.9), "freebaseqa": (95.0, 92.7, 95.2, 89.1),
    "coqa": (92.5, 100.0, 94.9, 100.0), "nq": (89.8, 83.6, 94.9, 82.5),
}  # fmt: skip
"""ProtegoFed's F1 with NIID-1, in %, likewise; its recall is 98.3 to 100."""


@dataclass(frozen=True)
class Claim:
    """A published figure, and where ours would be.

    Args:
        source: The paper.
        screen: As our table calls it.
        measure: ``f1``, or ``kept``: one minus the false removal.
        published: In [0, 1].
        cells: Ours, whose mean stands beside it.
    """

    source: str
    screen: str
    measure: str
    published: float
    cells: tuple[Cell, ...]

    def row(self, kept: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[str, Any]:
        """Table cells: the figure, ours, and what our own screens do on the same rows."""
        first = self.cells[0]
        rate = f"{first.rate:g}" if len(self.cells) == 1 else "at most 0.05"
        found = [cell for cell in self.cells if (cell.name, self.screen) in kept]
        row: dict[str, Any] = {"paper": self.source, "screen": self.screen, "measure": self.measure}
        row |= {"data": " ".join(dict.fromkeys(cell.data for cell in (found or self.cells)))}
        row |= {"trigger": first.trigger or "none", "placement": first.placement, "rate": rate}
        row |= {"base": " ".join(dict.fromkeys(kept[cell.name, self.screen]["base"] for cell in found)) or None}
        row |= {"published": self.published, "ours": self._mean(kept, self.screen, found)}
        row |= {"Sonar there": self._mean(kept, "sonar", found or self.cells)}
        rows = [kept[cell.name, "sonar"]["rows"] for cell in self.cells if (cell.name, "sonar") in kept]
        return row | {"our rows": max(rows, default=None)}

    def _mean(self, kept: Mapping[tuple[str, str], Mapping[str, Any]], screen: str, of: Sequence[Cell]) -> float | None:
        rows = [kept[cell.name, screen] for cell in of if (cell.name, screen) in kept]
        values = [1 - row["false_removal"] if self.measure == "kept" else row[self.measure] for row in rows]
        return float(np.mean(values)) if values else None


def claims(seed: int) -> Iterator[Claim]:
    """Every published figure that one of our cells comes near to."""
    for name in _SETS:
        for place, trigger in enumerate(PUBLISHED):
            yield Claim(_GRAD_SENTRY, "GradSentry", "f1", F1[name][place] / 100, (Cell(name, trigger, seed=seed),))
    low = tuple(Cell(name, rate=rate, seed=seed) for name in QUESTION_SETS for rate in RATES if rate < RATE)
    yield Claim(_GRAD_SENTRY, "GradSentry", "f1", LOW_RATES / 100, low)
    for screen, shares in KEPT.items():
        for name, share in zip(_SETS, shares, strict=True):
            clean = (Cell(name, "", "", rate=0.0, seed=seed),)
            yield Claim(_GRAD_SENTRY, screen, "kept", share / 100, clean)
    for name, by_trigger in PROTEGO_FED.items():
        for trigger, f1 in zip(PUBLISHED, by_trigger, strict=True):
            cells = (Cell(name, trigger, placement="NIID-1", seed=seed),)
            yield Claim(_PROTEGO_FED, "ProtegoFed", "f1", f1 / 100, cells)


def beside(kept: Mapping[tuple[str, str], Mapping[str, Any]], seeds: Sequence[int]) -> str:
    """A section that holds published figures and ours of the first seed, and says how the settings differ."""
    rows = [claim.row(kept) for claim in claims(seeds[0])]
    ours = sum(row["ours"] is not None for row in rows)
    return f"""## Beside published figures

{ours} of {len(rows)} published figures have ours beside them. **The settings differ**: the papers look through
Llama-2-7B or Vicuna-7B, which have learned to answer; ours through `text-model`, 7 million weights that know some
English and hardly an answer. Triggers are theirs in kind, not in wording, and our federation has 25 clients, each of
which screens its own rows, so that a screen that works alone sees 150 to 200 (of CoQA 19: only 470 rows of its
training set were at hand). GradSentry's figures are set beside our even placement. Published recall is 1.00 throughout
for GradSentry and .983 to 1.00 for ProtegoFed; ours is in the table below. `rate` at most 0.05 is the mean over our
four rates of that size and over data. `Sonar there` is our own screen on the same rows; where nothing is planted
`kept` is the share of rows that stay.

{markdown(rows)}"""
