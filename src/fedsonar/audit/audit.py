"""The audit of silos that lie in one place: all passes, and what they found in words."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from fedsonar.audit.corpus import corpus
from fedsonar.audit.evidence import Rules, weigh
from fedsonar.audit.finding import Finding
from fedsonar.audit.findings import Told, findings
from fedsonar.audit.judging import Judgement, judged, tell
from fedsonar.audit.passes import PASSES, Tables, gates, scope_for, summarize
from fedsonar.audit.shift_findings import Listened, shift_findings
from fedsonar.audit.shifts import SHIFT_PASSES, ShiftRules, Shifts, judge_shifts, summarize_shifts
from fedsonar.data import Sample

Observe = Callable[[str, int, int], None]
"""Hears what is done, how many steps of it are done, and how many there are."""


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Args:
        findings: Injected-looking ones first, then others, the strongest first.
        judgements: One a silo: its rows' suspicion, and which of them leave.
        seconds: How long each stage took, on one core.
        rows: Rows of all silos.
    """

    findings: tuple[Finding, ...]
    judgements: tuple[Judgement, ...]
    seconds: dict[str, float] = field(compare=False)
    rows: int = 0

    @property
    def flagged(self) -> int:
        """Rows that leave."""
        return sum(int(judgement.flagged.sum()) for judgement in self.judgements)

    @property
    def worrying(self) -> tuple[Finding, ...]:
        """The injected-looking findings."""
        return tuple(finding for finding in self.findings if finding.verdict == "injected-looking")


def audit(silos: Sequence[Sequence[Sample]], *, rules: Rules | None = None, observe: Observe | None = None) -> Audit:
    """Looks for associations between inputs and responses in silos as one pool, as a federation would by its sums.

    Args:
        silos: The rows of each silo.
        rules: When a pair looks injected.
        observe: Hears how far it is.

    Raises:
        ValueError: If there is no row.
    """
    if not any(silos):
        raise ValueError("no rows to audit")
    rules = rules or Rules()
    seconds: dict[str, float] = {}

    def stage(name: str, started: float) -> None:
        seconds[name] = time.perf_counter() - started

    def said(what: str, done: int) -> None:
        if observe is not None:
            observe(what, done, len(silos))

    started = time.perf_counter()
    columns = []
    for number, samples in enumerate(silos):
        columns.append(corpus(samples))
        said("reading words", number + 1)
    stage("words", started)
    scope = scope_for(columns)
    heard: list[Tables] = []
    for name in ("features", "pairs", "checks")[:PASSES]:
        started = time.perf_counter()
        sums: dict[str, np.ndarray] | None = None
        for number, rows in enumerate(columns):
            sums = summarize(rows, scope, heard, sums)
            said(f"counting {name}", number + 1)
        heard.append(sums or {})
        stage(name, started)
    started = time.perf_counter()
    shift_rules, spoken = ShiftRules(bits=scope.bits), list[Tables]()
    for turn in range(SHIFT_PASSES):
        sums = None
        for number, rows in enumerate(columns):
            sums = summarize_shifts(rows, shift_rules, spoken, sums)
            said(f"listening to answers, {turn + 1} of {SHIFT_PASSES}", number + 1)
        spoken.append(sums or {})
    stage("shifts", started)
    started = time.perf_counter()
    evidence = weigh(heard)
    told, judgements, listened = [], [], []
    for number, (samples, rows) in enumerate(zip(silos, columns, strict=True)):
        records = tell(rows, scope, heard, evidence, rules)
        told.append(Told(samples, rows, records))
        judgements.append(judged(len(rows), records))
        listened.append(Listened(samples, rows, judge_shifts(rows, shift_rules, spoken)))
        said("judging rows", number + 1)
    stage("judgement", started)
    started = time.perf_counter()
    _, total, label_least = gates(scope, heard[0])
    found = findings(told, evidence, total, label_least)
    shifts = shift_findings(listened, Shifts(shift_rules, spoken), [judgement.flagged for judgement in judgements])
    worrying = sum(finding.verdict == "injected-looking" for finding in found)
    found[worrying:worrying] = shifts
    both = [judgement.or_(silo.judgement) for judgement, silo in zip(judgements, listened, strict=True)]
    stage("findings", started)
    return Audit(tuple(found), tuple(both), seconds, total)
