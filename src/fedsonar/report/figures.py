"""The curves of a report: one plot a measure, one curve a run."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from fedsonar.report.folder import Column, RunFolder

# Okabe and Ito's palette, its light colours darkened until they hold 3:1 on white and on the dark page alike.
COLOURS = ("#1f7fc4", "#d55e00", "#009271", "#b5679c", "#9a7b00", "#5a6fd6", "#8a6d5a", "#7a8288")
# Dash and mark of a curve, and the same for the page's legend: SVG dash lengths, and the mark's path in a box of 10.
MARKS = (
    ("solid", "circle", "", "M9 5a4 4 0 1 1-8 0a4 4 0 1 1 8 0z"),
    ("dash", "square", "6 3", "M1.5 1.5h7v7h-7z"),
    ("dot", "diamond", "2 2", "M5 .5L9.5 5L5 9.5L.5 5z"),
    ("dashdot", "triangle-up", "6 2 2 2", "M5 1L9.5 9h-9z"),
    ("longdash", "x", "9 3", "M1 3L3 1l2 2l2-2l2 2l-2 2l2 2l-2 2l-2-2l-2 2l-2-2l2-2z"),
)
_LONGEST_NAME = 40
_BSNR = "Cross-fitted amplitude ratio S/N with its 95 % interval; one that covers 0 shows no signal."


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One plot of the page.

    Args:
        key: The HTML id.
        title: What it shows.
        caption: How to read it.
        alt: The same in words, for who cannot see it.
        figure: The Plotly figure; None if there is nothing to draw, which `caption` then explains.
        notes: What is undefined, and why.
    """

    key: str
    title: str
    caption: str
    alt: str = ""
    figure: Any = None
    notes: tuple[str, ...] = ()


def curves(runs: Sequence[RunFolder]) -> tuple[Plot, ...]:
    """Clean accuracy, attack success, training loss and BSNR by round."""
    return (
        _plot(runs, "accuracy", "Clean accuracy", "Bands: 95 % intervals. Round 0 is before tuning.", unit=True),
        _attack(runs),
        _plot(runs, "loss", "Training loss", "Mean over the round's clients, in nats a response token."),
        _plot(runs, "bsnr_crossfit_ratio", "BSNR by round", _BSNR, gaps=True, notes=_bsnr_notes(runs)),
        _plot(runs, "bsnr_crossfit_cumulative_ratio", "Cumulative BSNR", _BSNR, gaps=True),
    )


def plotly_text(text: str) -> str:
    """`text` for a Plotly label, which would take ``<b>`` or ``<a>`` in it for markup; shortened to fit."""
    short = text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
    return html.escape(short, quote=False)


def layout(height: int = 300, **more: Any) -> dict[str, Any]:
    """The layout that all plots share; the page's style sheet colours text and grid for light and dark."""
    axis = {"showgrid": True, "zeroline": False, "automargin": True, "ticks": ""}
    common: dict[str, Any] = {
        "template": "none",
        "height": height,
        "margin": {"l": 44, "r": 12, "t": 12, "b": 40},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#5b6673"},
        "hoverlabel": {"bgcolor": "#1b2430", "bordercolor": "#1b2430", "font": {"color": "#ffffff"}, "namelength": -1},
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)"},
        "dragmode": False,
        "xaxis": axis | {"title": {"text": "round", "standoff": 6}},
        "yaxis": axis,
    }
    for key, value in more.items():
        common[key] = common[key] | value if isinstance(common.get(key), dict) else value
    return common


def _plot(
    runs: Sequence[RunFolder],
    column: str,
    title: str,
    caption: str,
    *,
    unit: bool = False,
    gaps: bool = False,
    draw: Callable[..., list[Any]] | None = None,
    notes: tuple[str, ...] = (),
) -> Plot:
    """A curve a run of `column`; `unit` fixes the axis to [0, 1] and `gaps` breaks curves where values lack."""
    key = column.replace("_", "-")
    measured = [(index, run) for index, run in enumerate(runs) if any(v is not None for v in run.rounds[column])]
    if not measured:
        return Plot(key=key, title=title, caption=f"Nothing to draw: {_whose(runs)} has no value here.", notes=notes)
    named = len(runs) > 1
    traces = [trace for i, run in measured for trace in (draw or _curve)(run, i, column, gaps=gaps, named=named)]
    figure = go.Figure(traces, layout(showlegend=False, yaxis={"range": [-0.03, 1.03]} if unit else {}))
    rounds = max(round_ or 0 for _, run in measured for round_ in run.rounds["round"])
    figure.update_xaxes(range=[-0.03 * max(rounds, 1), 1.03 * max(rounds, 1)], tickformat="d")
    if rounds < 8:
        figure.update_xaxes(dtick=1)
    if gaps:  # A signed ratio: 0 is where no signal is.
        figure.update_yaxes(zeroline=True, zerolinewidth=1)
    alt = f"{title} by round. " + " ".join(_in_words(run, column) for _, run in measured)
    return Plot(key=key, title=title, caption=caption, alt=alt, figure=figure, notes=notes)


def _attack(runs: Sequence[RunFolder]) -> Plot:
    def both(run: RunFolder, index: int, column: str, *, gaps: bool, named: bool) -> list[Any]:
        traces = _curve(run, index, column, gaps=gaps, named=named)
        if any(value is not None for value in run.rounds["false_activation"]):
            traces += _curve(run, index, "false_activation", gaps=gaps, named=named, thin=True)
        if not named:
            for trace, name in zip(traces[1:], ("attack success", "false activation"), strict=False):
                trace.update(name=name, showlegend=True)
        return traces

    caption = "How often triggered rows get the target. Thin, hollow marks: how often untriggered rows do."
    plot = _plot(runs, "asr", "Attack success rate", caption, unit=True, draw=both)
    if plot.figure is not None and len(runs) == 1:
        plot.figure.update_layout(showlegend=True, margin={"t": 30})
    return plot


def _bsnr_notes(runs: Sequence[RunFolder]) -> tuple[str, ...]:
    notes = []
    for run in runs:
        reasons: dict[str, list[int]] = {}
        ratios = run.rounds["bsnr_crossfit_ratio"]
        for round_, value, note in zip(run.rounds["round"], ratios, run.bsnr_notes, strict=True):
            if round_ and (note or value is None):
                said = note or "not recorded"
                reasons.setdefault(f" undefined: {said}" if value is None else f": {said}", []).append(int(round_))
        prefix = f"{run.label}, " if len(runs) > 1 else ""
        notes += [f"{prefix}{_spans(rounds)}{reason}" for reason, rounds in reasons.items()]
    return tuple(notes)


def _curve(run: RunFolder, index: int, column: str, *, gaps: bool, named: bool, thin: bool = False) -> list[Any]:
    """The band and the line of one run; a thin curve has hollow marks and no band."""
    stem = column.removesuffix("_ratio")
    nothing: Column = [None] * len(run.rounds["round"])
    lows, highs = (run.rounds.get(f"{stem}_{end}", nothing) for end in ("low", "high"))
    points = list(zip(run.rounds["round"], run.rounds[column], lows, highs, strict=True))
    if not gaps:  # Measured every few rounds: the line connects what was measured.
        points = [point for point in points if point[1] is not None]
    colour, (dash, symbol, *_) = COLOURS[index % len(COLOURS)], MARKS[index % len(MARKS)]
    digits = ".1f" if stem.startswith("bsnr") else ".3f"
    line = go.Scatter(
        x=[point[0] for point in points],
        y=[point[1] for point in points],
        text=[_hover(*point[1:], digits) for point in points],
        name=plotly_text(run.label),
        mode="lines+markers",
        line={"color": colour, "width": 1.2 if thin else 2.4, "dash": dash},
        marker={"symbol": symbol + ("-open" if thin else ""), "size": 6 if thin else 7},
        hovertemplate=("%{fullData.name}<br>" if named else "") + "round %{x}: %{text}<extra></extra>",
    )
    if thin:
        return [line]
    x, y = _outline(points)
    band = go.Scatter(
        x=x, y=y, mode="lines", fill="toself", fillcolor=_faded(colour), line={"width": 0.5, "color": _faded(colour)},
        hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    return [band, line]


def _hover(value: float | None, low: float | None, high: float | None, digits: str) -> str:
    if value is None:
        return ""
    return f"{value:{digits}}" + ("" if low is None or high is None else f" [{low:{digits}}, {high:{digits}}]")


def _outline(points: Sequence[tuple[float | None, ...]]) -> tuple[Column, Column]:
    """The band's outline: along the upper ends and back along the lower, a polygon a stretch without gap."""
    x: Column = []
    y: Column = []
    stretch: list[tuple[float | None, ...]] = []
    for point in [*points, (None,) * 4]:
        if all(value is not None for value in point):
            stretch.append(point)
            continue
        x += [p[0] for p in stretch] + [p[0] for p in reversed(stretch)] + [None] * bool(stretch)
        y += [p[3] for p in stretch] + [p[2] for p in reversed(stretch)] + [None] * bool(stretch)
        stretch = []
    return x, y


def _faded(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.16)"


def _in_words(run: RunFolder, column: str) -> str:
    pairs = zip(run.rounds["round"], run.rounds[column], strict=True)
    known = [(round_, value) for round_, value in pairs if value is not None]
    (first, start), (last, end) = known[0], known[-1]
    if len(known) == 1:
        return f"{run.label}: {start:.2f} in round {first:.0f}."
    return f"{run.label}: from {start:.2f} in round {first:.0f} to {end:.2f} in round {last:.0f}."


def _whose(runs: Sequence[RunFolder]) -> str:
    return "this run" if len(runs) == 1 else "none of the runs"


def _spans(rounds: Sequence[int]) -> str:
    """``rounds 1–4, 7`` for sorted numbers."""
    spans: list[list[int]] = []
    for number in rounds:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    text = ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in spans)
    return f"{'round' if len(rounds) == 1 else 'rounds'} {text}"
