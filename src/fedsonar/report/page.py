"""Assembling the HTML page and putting it in place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedsonar.report import tables
from fedsonar.report.client_figures import kept_plots, landed_plots, poison_plot
from fedsonar.report.figures import COLOURS, MARKS, curves
from fedsonar.report.folder import RunFolder
from fedsonar.report.headline import facts, headline
from fedsonar.report.html import render
from fedsonar.report.reading import read_runs
from fedsonar.writing import write_whole

_SHOWN_EXAMPLES = 12
_VERDICTS = {True: "target given", False: "target not given", None: "not judged"}


def write_report(runs: Sequence[Path], out: Path, title: str | None = None) -> Path:
    """The path of the HTML page on one run, or comparing several.

    The page stands alone: scripts and styles are inside, nothing is fetched, and the same runs give the same bytes.
    It replaces `out` in one step, so that a reader never sees half of it.

    Args:
        runs: Run folders, at least one.
        out: The file to write; its folder is made if need be.
        title: Heading of the page; the experiment's name if None.

    Raises:
        ValueError: If a folder is missing, incomplete or not a run's; names the folder and what is missing.
    """
    read = read_runs(runs)
    if out.is_dir():
        raise ValueError(f"{out} is a folder; name the report's file, say {out / 'report.html'}")
    heading = title or (read[0].name if len(read) == 1 else f"{len(read)} runs compared")
    write_whole(out, _render(read, heading).encode())
    return out


def _render(runs: Sequence[RunFolder], title: str) -> str:
    plots = [*curves(runs), poison_plot(runs), *landed_plots(runs), *kept_plots(runs)]
    return render(
        "page.html.j2",
        title,
        headline(runs),
        plots,
        columns=tables.COLUMNS,
        nothing=tables.NONE,
        landed_columns=tables.LANDED,
        definitions=tables.DEFINITIONS,
        selection_columns=tables.SELECTION,
        selections=tables.selection_rows(runs),
        screen_columns=tables.SCREEN,
        screens=tables.screen_rows(runs),
        rounds=_rounds(runs),
        runs=[_details(run, index) for index, run in enumerate(runs)],
    )


def _rounds(runs: Sequence[RunFolder]) -> str:
    """How many rounds each run had, where they had not the same number."""
    counts = {run.label: int(run.summary["rounds"]) for run in runs}
    return ", ".join(f"{label}: {count}" for label, count in counts.items()) if len(set(counts.values())) > 1 else ""


def _details(run: RunFolder, index: int) -> dict[str, Any]:
    """What the template shows of one run."""
    return {
        "label": run.label,
        "colour": COLOURS[index % len(COLOURS)],
        "mark": MARKS[index % len(MARKS)],
        "facts": facts(run),
        "lines": [row for row in (tables.comparison_row(run), tables.repaired_row(run)) if row],
        "by_round": tables.rows_by_round(run),
        "landed": tables.landed_rows(run),
        "refused": tables.refused_rows(run),
        "stealth": tables.stealth_rows(run),
        "examples": _examples(run),
        "config": run.config_text,
        "environment": tables.flatten(run.environment),
        "timing": tables.timing_rows(run),
    }


def _examples(run: RunFolder) -> list[dict[str, Any]]:
    """Example outputs by kind, the first few of each, and whether they hold the target."""
    kinds = []
    for kind in ("clean", "triggered", "near miss"):
        found = [example for example in run.examples if example.get("kind") == kind]
        shown = [
            {key: str(example.get(key, "")) for key in ("id", "prompt", "output", "expected")}
            | {"hit": example.get("hit") is True, "verdict": _verdict(example.get("hit"))}
            for example in found[:_SHOWN_EXAMPLES]
        ]
        if shown:
            kinds.append({"kind": kind, "shown": shown, "left_out": len(found) - len(shown)})
    return kinds


def _verdict(hit: object) -> str:
    # A hit speaks of the attacker's target, without the trigger too; whether an answer is right, it does not say.
    return _VERDICTS[hit if isinstance(hit, bool) else None]
