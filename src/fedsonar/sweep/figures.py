"""The plots of a sweep: attack success over the grid, and against the backdoor's signal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from fedsonar.measure import Link, Rate, fit_link
from fedsonar.report.figures import COLOURS, MARKS, Plot, layout, plotly_text
from fedsonar.rng import stream
from fedsonar.sweep.combination import READINGS, Combination, heard
from fedsonar.sweep.grid import short_names, short_value

_FEWEST = 8
"""Runs from which on a link is fitted."""

_MOST_DIAGRAMS = 8


def phase_diagrams(combinations: Sequence[Combination], axes: Sequence[str]) -> list[Plot]:
    """Attack success over two axes as colour, with lines where the backdoor is as loud.

    One diagram for each combination of the other axes' values, the first 8 of them.

    The axes are the share of affected clients and the rate where the grid has them, and its first two else.

    Args:
        combinations: Of the sweep.
        axes: The grid's paths.
    """
    if len(axes) < 2 or not any(c.asr for c in combinations):
        return []
    across = _first(axes, "affected") or axes[0]
    up = _first([axis for axis in axes if axis != across], "rate") or next(axis for axis in axes if axis != across)
    others = [axis for axis in axes if axis not in (across, up)]
    groups: dict[str, list[Combination]] = {}
    for combination in combinations:
        groups.setdefault(in_words(combination.values, others), []).append(combination)
    shown = list(groups.items())[:_MOST_DIAGRAMS]
    return [_phase(group, across, up, name, index) for index, (name, group) in enumerate(shown)]


def _phase(combinations: Sequence[Combination], across: str, up: str, name: str, index: int) -> Plot:
    columns, rows = (_values(combinations, axis) for axis in (across, up))
    at = {(c.values[across], c.values[up]): c for c in combinations}
    cells = [[at.get((x, y)) for x in columns] for y in rows]
    success = [[c.asr.value if c and c.asr else None for c in row] for row in cells]
    words = [[_hover(c) if c else "" for c in row] for row in cells]
    heat = go.Heatmap(
        z=success, zmin=0, zmax=1, colorscale="Cividis", xgap=2, ygap=2, hoverongaps=False, customdata=words,
        hovertemplate="%{customdata}<extra></extra>", texttemplate="%{z:.2f}",
        colorbar={"thickness": 10, "outlinewidth": 0, "title": {"text": "ASR"}, "tickformat": ".1f"},
    )  # fmt: skip
    column, _, _ = heard([row for c in combinations for row in c.last if row["asr"] is not None])
    readings = [[c.reading(column) if c and column else None for c in row] for row in cells]
    known = [value for row in readings for value in row if value is not None]
    traces, caption = [heat], "Colour and number: attack success."
    if len(known) > 3 and min(len(columns), len(rows)) > 1 and min(known) < max(known):
        caption += f" Lines: equal signal S ({READINGS[column]})."
        traces.append(
            go.Contour(
                z=readings, contours={"coloring": "none", "showlabels": True}, line={"color": "#d55e00", "width": 2},
                hoverinfo="skip", showscale=False, connectgaps=True, ncontours=8,
            )
        )  # fmt: skip
    figure = go.Figure(traces, layout(340, showlegend=False))
    names = short_names([across, up])
    for update, axis, values in ((figure.update_xaxes, across, columns), (figure.update_yaxes, up, rows)):
        update(
            title={"text": plotly_text(names[axis]), "standoff": 6}, tickvals=list(range(len(values))), showgrid=False,
            ticktext=[plotly_text(short_value(value)) for value in values],
        )  # fmt: skip
    return Plot(
        key=f"phase-{index}",
        title="Attack success" + (f": {name}" if name else ""),
        caption=caption,
        alt=" ".join(f"{in_words(c.values, [across, up])}: {c.asr.value:.2f}." for c in combinations if c.asr),
        figure=figure,
    )


def curve(combinations: Sequence[Combination], axes: Sequence[str]) -> list[Plot]:
    """Attack success and accuracy along the only axis, with their intervals."""
    if len(axes) != 1:
        return []
    [axis] = axes
    places = [short_value(c.values[axis]) for c in combinations]
    traces = []
    for index, (name, rates) in enumerate(
        {"attack success": [c.asr for c in combinations], "accuracy": [c.accuracy for c in combinations]}.items()
    ):
        known = [(place, rate) for place, rate in zip(places, rates, strict=True) if rate]
        if known:
            traces.append(_with_intervals([place for place, _ in known], [rate for _, rate in known], name, index))
    figure = go.Figure(traces, layout(340, showlegend=True, margin={"t": 30}, yaxis={"range": [-0.03, 1.03]}))
    names = [plotly_text(place) for place in places]
    figure.update_xaxes(
        title={"text": plotly_text(short_names(axes)[axis])}, type="category", categoryarray=names,
    )  # fmt: skip
    said = " ".join(
        f"{place}: {c.asr.value:.2f}." for place, c in zip(places, combinations, strict=True) if c.asr
    )  # fmt: skip
    caption = "Values after the last round, pooled over seeds, with 95 % intervals."
    title = "Attack success and accuracy" if said else "Accuracy"
    return [Plot(key="curve", title=title, caption=caption, alt=f"{title} by {axis}. {said}", figure=figure)]


def _with_intervals(places: Sequence[str], rates: Sequence[Rate], name: str, index: int) -> Any:
    values = [rate.value for rate in rates]
    dash, symbol, *_ = MARKS[index]
    return go.Scatter(
        x=[plotly_text(place) for place in places], y=values, name=name, mode="lines+markers",
        line={"color": COLOURS[index], "dash": dash}, marker={"symbol": symbol, "size": 8},
        error_y={"type": "data", "array": [rate.high - rate.value for rate in rates],
                 "arrayminus": [rate.value - rate.low for rate in rates], "thickness": 1.2},
        text=[f"{rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}], n = {rate.n}" for rate in rates],
        hovertemplate=name + " at %{x}: %{text}<extra></extra>",
    )  # fmt: skip


def link_plot(rows: Iterable[Mapping[str, Any]]) -> list[Plot]:
    """Attack success of every run against how loud the backdoor was, with the fitted link.

    Args:
        rows: The runs' last rows.
    """
    attacked = [row for row in rows if row["asr"] is not None and row["poisoned_rows"]]
    column, readings, known = heard(attacked)
    title = "Signal and success"
    positive = int((readings > 0).sum())
    if len(known) < _FEWEST or not positive:
        if not attacked:
            return []
        hint = "--set bsnr.twins=true reads it at any share of affected clients"
        needs = f"A link needs {_FEWEST} runs with poison and a reading of the signal, of which some are positive"
        caption = f"{needs}; got {len(known)}, and {positive} positive; {hint}."
        return [Plot(key="link", title=title, caption=caption)]
    trials = np.array([row["asr_n"] for row in known], dtype=int)
    hits = np.array([round(row["asr"] * row["asr_n"]) for row in known])
    link = fit_link(readings, hits, trials, stream(0, "sweep/link"))
    shown = np.maximum(readings, link.least)
    places = np.geomspace(shown.min(), shown.max(), 100)
    points = go.Scatter(
        x=shown, y=hits / trials, mode="markers", marker={"size": 8, "color": COLOURS[0], "opacity": 0.8},
        text=[plotly_text(row["cell"]) for row in known],
        hovertemplate="%{text}<br>S %{x:.1f}: %{y:.2f}<extra></extra>",
    )  # fmt: skip
    fitted = go.Scatter(
        x=places, y=link.success(places), mode="lines", line={"color": COLOURS[1], "width": 2}, hoverinfo="skip"
    )
    figure = go.Figure([points, fitted], layout(340, showlegend=False, yaxis={"range": [-0.03, 1.03]}))
    figure.update_xaxes(type="log", title={"text": "S", "standoff": 6})
    return [
        Plot(key="link", title=title, caption=_said(link, column, len(known), len(attacked)), alt=title, figure=figure)
    ]


def _said(link: Link, column: str, known: int, attacked: int) -> str:
    critical = link.critical
    left_out = f" {attacked - known} runs without a reading are left out." if attacked > known else ""
    return (
        f"S ({READINGS[column]}) of {known} runs, and the logistic link that fits them best: success is one half at "
        f"{critical.value:.1f} [{critical.low:.1f}, {critical.high:.1f}].{left_out}"
    )


def in_words(values: Mapping[str, Any], axes: Sequence[str]) -> str:
    """The values of some axes: ``affected 0.5, rate 0.1`` say."""
    names = short_names(list(values))
    return ", ".join(f"{names[axis]} {short_value(values[axis])}" for axis in axes)


def _hover(combination: Combination) -> str:
    rates = {"attack success": combination.asr, "accuracy": combination.accuracy}
    said = [plotly_text(in_words(combination.values, list(combination.values)))]
    said += [f"{name} {r.value:.3f} [{r.low:.3f}, {r.high:.3f}], n = {r.n}" for name, r in rates.items() if r]
    return "<br>".join([*said, f"{combination.poisoned:.1%} of all rows poisoned"])


def _values(combinations: Sequence[Combination], axis: str) -> list[Any]:
    """The values of an axis: numbers in their order, others as they come."""
    found = list(dict.fromkeys(c.values[axis] for c in combinations))
    numbers = all(isinstance(value, int | float) for value in found)
    return sorted(found) if numbers else found


def _first(axes: Sequence[str], end: str) -> str | None:
    return next((axis for axis in axes if axis.rpartition(".")[2] == end), None)
