"""The page on a sweep: the phase diagram, the link from signal to success, and a table of all combinations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedsonar.report.figures import plotly_text
from fedsonar.report.html import render
from fedsonar.report.tables import NONE, percent, rate
from fedsonar.side_by_side import failed_before
from fedsonar.sweep.combination import READINGS, Combination, axes_of, combinations
from fedsonar.sweep.figures import curve, in_words, link_plot, phase_diagrams
from fedsonar.sweep.grid import short_names, short_value
from fedsonar.sweep.table import read_sweep
from fedsonar.writing import write_whole

PAGE = "report.html"
_PASSED = 0.85
"""The success that the threat is known for."""


def write_sweep_page(folder: Path, out: Path | None = None, title: str | None = None) -> Path:
    """Writes the page of a sweep, which stands alone as a run's does, and returns its path.

    Args:
        folder: Of the sweep, with its table.
        out: The file to write; ``report.html`` in the folder if None.
        title: Heading of the page; the folder's name if None.

    Raises:
        ValueError: If no run of the sweep is finished.
    """
    rows = read_sweep(folder)
    if not rows:
        raise ValueError(f"no run of the sweep in {folder} is finished")
    axes, found = axes_of(rows), combinations(rows)
    last = [row for combination in found for row in combination.last]
    plots = [*phase_diagrams(found, axes), *curve(found, axes), *link_plot(last)]
    failed = failed_before(sorted(path.name for path in folder.iterdir() if path.is_dir()), folder)
    names = short_names(axes)
    column = next((name for name in READINGS if any(c.reading(name) is not None for c in found)), "")
    text = render(
        "sweep.html.j2",
        title or folder.resolve().name,
        headline(found),
        plots,
        axes=[plotly_text(names[axis]) for axis in axes],
        reading=READINGS.get(column, ""),
        repaired=_any_repaired(found),
        rows=[_cells(c, axes, column, repaired=_any_repaired(found)) for c in found],
        failed={name: outcome.error for name, outcome in failed.items()},
        nothing=NONE,
    )
    path = out or folder / PAGE
    write_whole(path, text.encode())
    return path


def headline(found: Sequence[Combination]) -> str:
    """How far attack success and accuracy go over the grid, and from how little poison on the attack passes 85 %."""
    runs = sum(c.runs for c in found)
    said = f"{len(found)} combination{'s' * (len(found) > 1)}, {runs} run{'s' * (runs > 1)}."
    accuracies = [c.accuracy for c in found if c.accuracy]
    if accuracies:
        ends = dict.fromkeys(percent(pick(r.value for r in accuracies)) for pick in (min, max))
        said += f" Accuracy is {' to '.join(ends)}."
    attacked = [c for c in found if c.asr and c.poisoned]
    passed = [c for c in attacked if c.asr and c.asr.value > _PASSED]
    if passed:
        least = min(passed, key=lambda c: c.poisoned)
        where = in_words(least.values, list(least.values))
        said += (
            f" The attack passes {percent(_PASSED)} in {len(passed)} of {len(attacked)} with poison; the least poison "
            f"that does it is {_share(least)} of all rows" + (f" ({where})." if where else ".")
        )
    elif attacked:
        most = percent(max(c.asr.value for c in attacked if c.asr))
        said += f" The attack passes {percent(_PASSED)} in none of {len(attacked)} with poison; its best is {most}."
    return said


def _share(combination: Combination) -> str:
    return f"{100 * combination.poisoned:.1f} %"


def _any_repaired(found: Sequence[Combination]) -> bool:
    return any(c.repaired_accuracy for c in found)


def _cells(combination: Combination, axes: Sequence[str], column: str, *, repaired: bool) -> list[str]:
    reading = combination.reading(column) if column else None
    return [
        *(short_value(combination.values[axis]) for axis in axes),
        str(combination.runs),
        _share(combination),
        rate(combination.accuracy),
        rate(combination.asr),
        *([rate(combination.repaired_accuracy), rate(combination.repaired_asr)] if repaired else []),
        *([NONE if reading is None else f"{reading:.1f}" if abs(reading) >= 1 else f"{reading:.2g}"] if column else []),
    ]
