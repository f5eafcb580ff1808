"""The page on an audit: its findings with their evidence and example rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fedsonar.audit import Audit
from fedsonar.report.html import render

_MOST = 60
"""Findings on the page that are no reason to worry."""


def audit_page(found: Audit, title: str, names: Sequence[str], place: Callable[[int, str], str]) -> str:
    """The page, which stands alone.

    Args:
        found: What was found.
        title: Its heading.
        names: Of the silos.
        place: Tells where a row is, by its silo's number and its id.
    """
    worrying, undecided = found.worrying, found.undecided
    others = [finding for finding in found.findings if finding not in (*worrying, *undecided)]
    return render(
        "audit.html.j2", title, headline(found), [],
        worrying=worrying, undecided=undecided, others=others[:_MOST], more=max(0, len(others) - _MOST), names=names,
        place=place, phrases=found.phrases,
        silos=[
            (name, len(judgement.flagged), int(judgement.flagged.sum()))
            for name, judgement in zip(names, found.judgements, strict=True)
        ],
    )  # fmt: skip


def headline(found: Audit) -> str:
    """What was found, in a sentence or two."""
    silos = len(found.judgements)
    where = f"{found.rows:,} rows" + (f" of {silos} silos" if silos > 1 else "")
    others = len(found.findings) - len(found.worrying) - len(found.undecided)
    natural = "1 association looks natural" if others == 1 else f"{others} associations look natural"
    if found.undecided:
        triggers = " or ".join(finding.triggers[0] for finding in found.undecided)
        natural += f"; of rows with {triggers} the text cannot tell whether they are poison"
    if found.vocabulary:
        natural += f"; {found.vocabulary}"
    if not found.worrying:
        return f"Nothing in {where} looks injected; {natural}."
    share = 100 * found.flagged / found.rows
    several = "s look" if len(found.worrying) > 1 else " looks"
    return (
        f"{len(found.worrying)} finding{several} injected: {found.flagged:,} of {where} ({share:.2f} %) are suspected. "
        f"Besides, {natural}."
    )
