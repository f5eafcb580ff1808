"""The page on screened rows: how suspicions lie, how well they part known poison, and the most suspect rows."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool

from fedsonar.data import Sample
from fedsonar.measure import Detection
from fedsonar.report.figures import COLOURS, Plot, layout
from fedsonar.report.html import render
from fedsonar.screen import Verdict

_SHOWN, _FIRST = 100, 10
_NAMES = {"recall": "Recall", "precision": "Precision", "false_removal": "False removal", "auc": "Area under the curve"}


def screen_page(
    result: Mapping[str, Any], names: Sequence[str], samples: Sequence[Sequence[Sample]], judged: Sequence[Verdict],
    poisoned: Bool[np.ndarray, "rows"] | None, found: Detection | None, place: Callable[[int, str], str],
) -> str:  # fmt: skip
    """The page, which stands alone.

    Args:
        result: What the command says.
        names: Of the silos.
        samples: Rows of each silo.
        judged: Their verdicts.
        poisoned: Which rows are known to be poisoned, over all silos; None where that is not known.
        found: The scores by that.
        place: Tells where a row is, by its silo's number and its id.
    """
    suspicion = np.concatenate([verdict.suspicion for verdict in judged])
    known = ~np.isnan(suspicion)
    truth = None if poisoned is None else poisoned[known]
    plots = [_histogram(suspicion[known], truth)]
    if truth is not None and found is not None:
        plots.append(_roc(suspicion[known], truth, found))
    name = result["screen"]["class_path"].rsplit(".", 1)[-1]
    title = f"{name} on {names[0]}" if len(names) == 1 else f"{name} on {len(names)} silos"
    parts = result["screen"]["init_args"]
    shown = most_suspect(samples, judged, _SHOWN) or _first(samples, judged)
    return render(
        "screen.html.j2", title, _headline(result), plots,
        scores=list(_score_rows(result["scores"])), silos=result["silos"], parameters=parts, model=result["model"],
        suspects=[
            (names[number], place(number, sample.id), f"{value:.4g}", sample.input, sample.answers[0])
            for number, sample, value in shown
        ],
        flagged=result["flagged"],
    )  # fmt: skip


def most_suspect(
    samples: Sequence[Sequence[Sample]], judged: Sequence[Verdict], most: int
) -> list[tuple[int, Sample, float]]:
    """The most suspect of the flagged rows: the number of the silo, the row, and its suspicion."""
    return _largest(samples, judged, [verdict.flagged for verdict in judged], most)


def _first(samples: Sequence[Sequence[Sample]], judged: Sequence[Verdict]) -> list[tuple[int, Sample, float]]:
    """The first few of all rows, of those that are more suspect than most."""
    middle = np.nanmedian(np.concatenate([verdict.suspicion for verdict in judged]))
    return _largest(samples, judged, [verdict.suspicion > middle for verdict in judged], _FIRST)


def _largest(
    samples: Sequence[Sequence[Sample]], judged: Sequence[Verdict], among: Sequence[Bool[np.ndarray, "_"]], most: int
) -> list[tuple[int, Sample, float]]:
    """The most suspect of some rows."""
    rows = (
        (float(judged[number].suspicion[place]), number, int(place))
        for number, some in enumerate(among) for place in np.flatnonzero(some)
    )  # fmt: skip
    chosen = heapq.nlargest(most, rows, key=lambda row: (row[0], -row[1], -row[2]))
    return [(number, samples[number][place], suspicion) for suspicion, number, place in chosen]


def score_lines(scores: Mapping[str, Any] | None) -> list[str]:
    """The scores for a terminal; none where nothing is known to be poisoned."""
    return [f"{name}: {value}" for name, value in _score_rows(scores)]


def _score_rows(scores: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    if scores is None:
        return
    for key, name in _NAMES.items():
        rate = scores[key]
        if rate["value"] is not None:
            yield name, f"{rate['value']:.4f} [{rate['low']:.4f}, {rate['high']:.4f}] n={rate['n']:,}"
    if scores["f1"] is not None:
        yield "F1", f"{scores['f1']:.4f}"


def _headline(result: Mapping[str, Any]) -> str:
    said = f"{result['flagged']:,} of {result['rows']:,} rows are suspected."
    if result["unjudged"]:
        said += f" {result['unjudged']:,} do not fit into the model, and were not judged."
    return said


def _histogram(suspicion: np.ndarray, poisoned: np.ndarray | None) -> Plot:
    """How suspicions lie, known poison apart."""
    finite = suspicion[np.isfinite(suspicion)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1, 41)
    parts = {"rows": ~np.isnan(suspicion)} if poisoned is None else {"clean": ~poisoned, "poisoned": poisoned}
    traces = [
        go.Bar(
            x=(edges[1:] + edges[:-1]) / 2, y=np.histogram(suspicion[rows], edges)[0], width=np.diff(edges), name=name,
            marker={"color": colour, "opacity": 0.7}, hovertemplate="%{x:.3g}: %{y} " + name + "<extra></extra>",
        )
        for (name, rows), colour in zip(parts.items(), COLOURS, strict=False)
    ]  # fmt: skip
    figure = go.Figure(
        traces,
        layout(
            barmode="overlay", xaxis={"title": {"text": "suspicion", "standoff": 6}},
            yaxis=_rows_axis(max(np.histogram(suspicion, edges)[0].max(), 1)), showlegend=len(parts) > 1,
            margin={"t": 30, "l": 60},
        ),
    )  # fmt: skip
    middle = float(np.median(finite)) if len(finite) else 0.0
    return Plot(
        key="suspicion", title="Suspicion",
        caption="Rows by suspicion, on the screen's own scale; more is worse. Heights are logarithmic: each "
                "tick is ten times the one below.",
        alt=f"Suspicions of {len(suspicion):,} rows from {low:.3g} to {high:.3g}, half of them below {middle:.3g}.",
        figure=figure,
    )  # fmt: skip


def _rows_axis(most: int) -> dict[str, Any]:
    """A logarithmic axis of counts from below 1, so that a single row is seen, with a tick at every power of 10."""
    powers = range(len(str(most)) + 1)
    return {
        "type": "log", "range": [math.log10(0.5), math.log10(1.5 * most)], "tickvals": [10**power for power in powers],
        "ticktext": [f"{10**power:,}" for power in powers], "title": {"text": "rows, logarithmic", "standoff": 6},
    }  # fmt: skip


def _roc(suspicion: np.ndarray, poisoned: np.ndarray, found: Detection) -> Plot:
    """Recall against false removal at every threshold."""
    from sklearn.metrics import roc_curve

    if not poisoned.any() or poisoned.all():
        return Plot(key="roc", title="ROC curve", caption="Nothing to draw: all rows are of one kind.")
    false, right, _ = roc_curve(poisoned, suspicion)
    here = (found.false_removal.value, found.recall.value)
    figure = go.Figure(
        [
            go.Scatter(x=false, y=right, mode="lines", line={"color": COLOURS[0], "width": 2.4, "shape": "hv"},
                       hovertemplate="false removal %{x:.4f}, recall %{y:.4f}<extra></extra>"),
            go.Scatter(x=here[:1], y=here[1:], mode="markers", marker={"color": COLOURS[1], "size": 11, "symbol": "x"},
                       hovertemplate="the threshold: %{x:.4f}, %{y:.4f}<extra></extra>"),
        ],
        layout(
            xaxis={"title": {"text": "false removal", "standoff": 6}, "range": [-0.02, 1.02]},
            yaxis={"title": {"text": "recall"}, "range": [-0.02, 1.02]}, showlegend=False,
        ),
    )  # fmt: skip
    return Plot(
        key="roc", title="ROC curve", caption="Recall and false removal at every threshold; the cross is the one used.",
        alt=f"ROC curve with an area of {found.auc.value:.3f}; recall {here[1]:.3f} at false removal {here[0]:.3f}.",
        figure=figure,
    )  # fmt: skip
