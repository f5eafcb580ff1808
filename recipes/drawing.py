"""The pictures of docs/results/: the same numbers give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

from fedsonar.report.figures import COLOURS
from tables import RESULTS

mpl.use("svg")
mpl.rcParams |= {
    "svg.hashsalt": "fedsonar", "font.family": "sans-serif", "axes.spines.top": False, "axes.spines.right": False,
    "figure.facecolor": "white", "grid.color": "#e4e4e4",
}  # fmt: skip


@dataclass(frozen=True)
class Series:
    """One quantity of a picture.

    Args:
        name: What it is called.
        points: Measured (x, y).
        foretold: A line through (x, y) that a model foretells; none where it foretells nothing.
        intervals: The (low, high) of each point; none where they are not known.
    """

    name: str
    points: Sequence[tuple[float, float]]
    foretold: Sequence[tuple[float, float]] | None = None
    intervals: Sequence[tuple[float, float]] | None = None


def draw(name: str, across: str, up: str, series: Sequence[Series], *, logarithmic: bool = True) -> None:
    """Writes docs/results/NAME.svg: points, and lines that models foretell.

    Args:
        name: The file's name.
        across: What x is.
        up: What y is.
        series: What is drawn.
        logarithmic: Whether both axes are; otherwise y starts at 0.
    """
    figure, axes = plt.subplots(figsize=(4.6, 3.2), layout="constrained")
    for each, colour, mark in zip(series, COLOURS, ("o", "s", "D"), strict=False):
        axes.plot(*zip(*each.points, strict=True), mark, color=colour, markersize=4, alpha=0.7, label=each.name)
        if each.intervals:
            lows, highs = zip(*each.intervals, strict=True)
            axes.vlines([x for x, _ in each.points], lows, highs, color=colour, linewidth=1.2)
        if each.foretold:
            axes.plot(*zip(*each.foretold, strict=True), "--", color=colour, linewidth=1.2, label=f"{each.name}, model")
    if logarithmic:
        axes.set(xscale="log", yscale="log")
    else:
        axes.set_ylim(bottom=0)
    axes.set(xlabel=across, ylabel=up)
    ticks = sorted({x for each in series for x, _ in each.points})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.grid()
    axes.legend(frameon=False, fontsize=8)
    _save(figure, name)


def heat(
    name: str,
    rows: Sequence[str],
    columns: Sequence[float] | Sequence[str],
    values: Mapping[tuple[str, Any], float],
    across: str,
    colour: str,
) -> None:
    """Writes docs/results/NAME.svg: a value in [0, 1] of every row and column, as colour and number."""
    figure, axes = plt.subplots(
        figsize=(max(5.6, 2.6 + 0.45 * len(columns)), 0.8 + 0.26 * len(rows)), layout="constrained"
    )
    grid = [[values[row, column] for column in columns] for row in rows]
    image = axes.imshow(grid, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    words = [column if isinstance(column, str) else f"{column:g}" for column in columns]
    long = max(map(len, words)) > 6
    axes.set_xticks(range(len(columns)), words, rotation=40 if long else 0, ha="right" if long else "center")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel(across)
    for y, line in enumerate(grid):
        for x, value in enumerate(line):
            shade = "white" if value < 0.6 else "black"
            axes.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=7, color=shade)
    figure.colorbar(image, label=colour, fraction=0.05)
    _save(figure, name)


def _save(figure: Any, name: str) -> None:
    figure.savefig(RESULTS / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)
