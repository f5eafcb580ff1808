"""The page on an audit: its findings with their evidence and example rows."""

from __future__ import annotations

from collections.abc import Sequence

from fedsonar.audit import Audit
from fedsonar.report.html import render

_MOST = 60
"""Findings on the page that are no reason to worry."""


def audit_page(found: Audit, title: str, names: Sequence[str]) -> str:
    """The page, which stands alone.

    Args:
        found: What was found.
        title: Its heading.
        names: Of the silos.
    """
    worrying = found.worrying
    others = [finding for finding in found.findings if finding not in worrying]
    return render(
        "audit.html.j2", title, headline(found), [],
        worrying=worrying, others=others[:_MOST], more=max(0, len(others) - _MOST), names=names,
        silos=[
            (name, len(judgement.flagged), int(judgement.flagged.sum()))
            for name, judgement in zip(names, found.judgements, strict=True)
        ],
    )  # fmt: skip


def headline(found: Audit) -> str:
    """What was found, in a sentence or two."""
    silos = len(found.judgements)
    where = f"{found.rows:,} rows" + (f" of {silos} silos" if silos > 1 else "")
    others = len(found.findings) - len(found.worrying)
    natural = "1 association looks natural" if others == 1 else f"{others} associations look natural"
    if not found.worrying:
        return f"Nothing in {where} looks injected; {natural}."
    share = 100 * found.flagged / found.rows
    several = "s look" if len(found.worrying) > 1 else " looks"
    return (
        f"{len(found.worrying)} finding{several} injected: {found.flagged:,} of {where} ({share:.2f} %) are suspected. "
        f"Besides, {natural}."
    )
