"""The plots that look at single clients: whom the rule kept, and who holds poison."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from fedsonar.report.figures import COLOURS, Plot, layout, plotly_text
from fedsonar.report.folder import RunFolder

_PATTERNS = ("", "/", ".", "x", "\\", "-", "+", "|")
_ROW_HEIGHT = 18
_TALLEST = 900
_MOST_TICKS = 8


def kept_plots(runs: Sequence[RunFolder]) -> tuple[Plot, ...]:
    """A heat map of shares, clients by rounds, for every run whose rule recorded them."""
    return tuple(_kept(run, index, len(runs) > 1) for index, run in enumerate(runs, 1) if run.shares)


def _kept(run: RunFolder, index: int, named: bool) -> Plot:
    rounds = sorted({round_ for round_, _ in run.shares})
    clients = sorted({client for _, client in run.shares} | set(run.rows))
    shares = [[run.shares.get((round_, client)) for round_ in rounds] for client in clients]
    names = [str(client) for client in clients]
    most = max(run.shares.values()) or 1.0
    heat = go.Heatmap(
        x=rounds, y=names, z=shares, zmin=0, zmax=most, colorscale="Cividis", xgap=1, ygap=1, hoverongaps=False,
        colorbar={"thickness": 10, "outlinewidth": 0, "title": {"text": "share"}, "tickformat": ".2f"},
        hovertemplate="client %{y}, round %{x}: share %{z:.3f}<extra></extra>",
    )  # fmt: skip
    marks = go.Scatter(
        x=[rounds[0] - 1] * len(run.affected), y=[str(client) for client in run.affected], mode="markers",
        marker={"symbol": "triangle-right", "size": 9, "color": COLOURS[1]},
        text=[f"{run.poisoned[client]:,} of {run.rows[client]:,}" for client in run.affected],
        hovertemplate="client %{y}: %{text} rows poisoned<extra></extra>",
    )  # fmt: skip
    height = min(_TALLEST, max(300, 80 + _ROW_HEIGHT * len(clients)))
    figure = go.Figure([heat, marks], layout(height, showlegend=False))
    category = {"type": "category", "categoryorder": "array", "categoryarray": names[::-1], "showgrid": False}
    figure.update_yaxes(title={"text": "client", "standoff": 4}, **category)
    # Named ticks, because the column of triangles is no round.
    ticks = rounds[:: math.ceil(len(rounds) / _MOST_TICKS)]
    figure.update_xaxes(range=[rounds[0] - 1.6, rounds[-1] + 0.6], showgrid=False, tickvals=ticks)
    dropped = {client: sum(share == 0 for share in row) for client, row in zip(clients, shares, strict=True)}
    alt = f"Share of each client in each round. Dropped in rounds: {_listed(dropped)}. Affected clients: "
    return Plot(
        key=f"kept-{index}",
        title=f"What the rule kept: {run.label}" if named else "What the rule kept",
        caption="How much each client counted; darkest is 0. Orange triangles mark clients that hold poisoned rows.",
        alt=alt + (", ".join(map(str, run.affected)) or "none") + ".",
        figure=figure,
    )


def _listed(dropped: dict[int, int]) -> str:
    return ", ".join(f"client {client} in {count}" for client, count in dropped.items() if count) or "none"


def poison_plot(runs: Sequence[RunFolder]) -> Plot:
    """Bars: the poisoned rows of every client, a colour a run."""
    title = "Poisoned rows per client"
    poisoned = [(index, run) for index, run in enumerate(runs) if run.affected]
    if not poisoned:
        where = "this run" if len(runs) == 1 else "any of these runs"
        return Plot(key="poison", title=title, caption=f"No row was poisoned in {where}.")

    def pattern(index: int) -> dict[str, str]:
        return {"shape": _PATTERNS[index % len(_PATTERNS)], "fillmode": "overlay", "fgcolor": "#ffffff"}

    bars = [
        go.Bar(
            x=[str(client) for client in sorted(run.rows)],
            y=[run.poisoned[client] for client in sorted(run.rows)],
            text=[f"{run.poisoned[client]:,} of {run.rows[client]:,} rows" for client in sorted(run.rows)],
            textposition="none",
            name=plotly_text(run.label),
            marker={"color": COLOURS[index % len(COLOURS)], "pattern": pattern(index)},
            hovertemplate=("%{fullData.name}<br>" if len(runs) > 1 else "") + "client %{x}: %{text}<extra></extra>",
        )
        for index, run in poisoned
    ]
    figure = go.Figure(bars, layout(showlegend=False, barmode="group", bargap=0.25))
    clients = sorted({client for _, run in poisoned for client in run.rows})
    order = {"categoryorder": "array", "categoryarray": [str(client) for client in clients]}
    figure.update_xaxes(type="category", title={"text": "client", "standoff": 6}, showgrid=False, **order)
    most = max(count for _, run in poisoned for count in run.poisoned.values())
    figure.update_yaxes(rangemode="tozero", tickformat="d", dtick=1 if most < _MOST_TICKS else None)
    counts = [
        f"{run.label}: " + ", ".join(f"client {c} {run.poisoned[c]}" for c in run.affected) for _, run in poisoned
    ]
    return Plot(
        key="poison",
        title=title,
        caption="Ground truth of the simulation; no screen or rule sees it.",
        alt="Poisoned rows per client. " + ". ".join(counts) + ".",
        figure=figure,
    )


_MOST_SOURCES = 40


def landed_plots(runs: Sequence[RunFolder]) -> tuple[Plot, ...]:
    """A heat map of poisoned rows, clients by sources, for every poisoned run whose rows have several sources."""
    return tuple(
        _landed(run, index, len(runs) > 1)
        for index, run in enumerate(runs, 1)
        if run.affected and 1 < len({source for _, source in run.landed}) <= _MOST_SOURCES
    )


def _landed(run: RunFolder, index: int, named: bool) -> Plot:
    clients, sources = sorted(run.rows), sorted({source for _, source in run.landed})
    counts = [[run.landed.get((client, source), (0, 0, 0)) for source in sources] for client in clients]
    heat = go.Heatmap(
        x=[plotly_text(source) or "none" for source in sources], y=[str(client) for client in clients],
        z=[[cell[0] for cell in row] for row in counts], colorscale="Cividis", zmin=0, xgap=1, ygap=1,
        text=[[f"{cell[0]:,} of {cell[2]:,} rows" for cell in row] for row in counts],
        colorbar={"thickness": 10, "outlinewidth": 0, "title": {"text": "rows"}, "tickformat": "d"},
        hovertemplate="client %{y}, %{x}: %{text} poisoned<extra></extra>",
    )  # fmt: skip
    figure = go.Figure([heat], layout(min(_TALLEST, max(300, 100 + _ROW_HEIGHT * len(clients))), showlegend=False))
    names = [str(client) for client in clients][::-1]
    figure.update_yaxes(
        type="category", categoryorder="array", categoryarray=names, title={"text": "client", "standoff": 4},
        showgrid=False,
    )  # fmt: skip
    figure.update_xaxes(type="category", showgrid=False, title={"text": "source", "standoff": 6})
    totals = {source: sum(row[place][0] for row in counts) for place, source in enumerate(sources)}
    return Plot(
        key=f"landed-{index}",
        title=f"What landed where: {run.label}" if named else "What landed where",
        caption="Poisoned rows by client and source, from the ledger; darkest is none.",
        alt="Poisoned rows by source: " + ", ".join(f"{source or 'none'} {n}" for source, n in totals.items()) + ".",
        figure=figure,
    )
