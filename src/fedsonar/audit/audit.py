"""The audit of silos that lie in one place: all passes, and what they found in words."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from fedsonar.audit.corpus import corpus
from fedsonar.audit.evidence import weigh
from fedsonar.audit.finding import Finding, Verdict
from fedsonar.audit.findings import findings
from fedsonar.audit.groups import LISTED, Told
from fedsonar.audit.hearing import frequent_inputs, told
from fedsonar.audit.judging import Judgement, tell
from fedsonar.audit.little import Little
from fedsonar.audit.pair_judge import Judge
from fedsonar.audit.passes import PASSES, count, uncounted
from fedsonar.audit.phrases import Pool, SharedPhrase, shared_phrases
from fedsonar.audit.rules import Rules
from fedsonar.audit.scope import Tables
from fedsonar.audit.shift_findings import Listened, shift_findings
from fedsonar.audit.shift_passes import SHIFT_PASSES, Before, judge_of, judge_shifts, summarize_shifts, told_shifts
from fedsonar.audit.shift_rules import ShiftRules
from fedsonar.audit.sizing import scope_for
from fedsonar.audit.survey import strongest, survey
from fedsonar.audit.vocabulary import Vocabulary
from fedsonar.collecting import no_collecting
from fedsonar.data import Sample

Made = TypeVar("Made")
Observe = Callable[[str, int, int], None]
"""Hears what is done, how many steps of it are done, and how many there are."""


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Args:
        findings: Injected-looking ones first, then undecided ones, then others, the strongest first.
        judgements: One a silo: its rows' suspicion, and which of them leave.
        seconds: How long each stage took, on one core.
        rows: Rows of all silos.
        vocabulary: Whether answers are made of the inputs' words, as a translation's are.
        phrases: Long phrases that many answers share and for which no row leaves, at most ten, those first whose rows
            have something in common. They are read in the rows: sums of a federation do not tell them.
    """

    findings: tuple[Finding, ...]
    judgements: tuple[Judgement, ...]
    seconds: dict[str, float] = field(compare=False)
    rows: int = 0
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    phrases: tuple[SharedPhrase, ...] = ()

    @property
    def flagged(self) -> int:
        """Rows that leave."""
        return sum(int(judgement.flagged.sum()) for judgement in self.judgements)

    @property
    def worrying(self) -> tuple[Finding, ...]:
        """The injected-looking findings."""
        return self._of("injected-looking")

    @property
    def undecided(self) -> tuple[Finding, ...]:
        """Those of which the text cannot tell whether the rows with a trigger are poison, or the others."""
        return self._of("undecided")

    def _of(self, verdict: Verdict) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.verdict == verdict)


@no_collecting()
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
    clock = _Clock(observe, len(silos))
    columns = [clock.done("reading words", number, corpus(samples)) for number, samples in enumerate(silos, 1)]
    clock.stage("words")
    scope = scope_for(columns)
    heard: list[Tables] = []
    for name in ("features", "pairs", "checks")[:PASSES]:
        counts = uncounted(scope, heard, Little)
        for number, rows in enumerate(columns, 1):
            count(rows, scope, heard, counts)
            clock.done(f"counting {name}", number)
        heard.append(told(counts, scope, heard))
        del counts
        clock.stage(name)
    evidence = weigh(heard)
    judge = Judge(rules, scope, heard[0], evidence)
    heard.pop()  # it is all in the evidence
    surveys = [clock.done("judging rows", number, survey(rows, heard, judge)) for number, rows in enumerate(columns, 1)]
    judgements = [one.judgement for one in surveys]
    clock.stage("judgement")
    certain, quiet = strongest(surveys, LISTED)
    listed = [
        Told(samples, rows, tell(rows, heard, judge, certain, quiet))
        for samples, rows in zip(silos, columns, strict=True)
    ]
    total, vocabulary, inputs = evidence.total, judge.vocabulary, heard[0]["inputs"]
    heard.clear()  # findings of many rows need the room
    found = findings(listed, evidence, total, judge.label_least)
    clock.stage("findings")
    del listed, evidence, judge
    shift_rules, spoken = ShiftRules(bits=scope.bits, words=scope.words), list[Tables]()
    for turn in range(SHIFT_PASSES):
        sums: dict[str, np.ndarray] | None = None
        for number, (rows, judgement) in enumerate(zip(columns, judgements, strict=True), 1):
            before = Before(judgement.flagged, bool(vocabulary))
            sums = summarize_shifts(rows, shift_rules, spoken, sums, before, inputs)
            clock.done(f"listening to answers, {turn + 1} of {SHIFT_PASSES}", number)
        spoken.append(told_shifts(sums or {}, shift_rules, spoken))
    listened = [
        Listened(samples, rows, judge_shifts(rows, shift_rules, spoken))
        for samples, rows in zip(silos, columns, strict=True)
    ]
    worrying = sum(finding.verdict == "injected-looking" for finding in found)
    known = [judgement.flagged for judgement in judgements]
    found[worrying:worrying] = shift_findings(listened, judge_of(shift_rules, spoken), known)
    both = [judgement.or_(one.judgement) for judgement, one in zip(judgements, listened, strict=True)]
    clock.stage("shifts")
    repeats, flagged = [one.repeats for one in surveys], [one.flagged for one in both]
    pool = Pool(silos, columns, scope, frequent_inputs(scope, inputs))
    phrases = shared_phrases(pool, repeats, flagged)
    clock.stage("phrases")
    return Audit(tuple(found), tuple(both), clock.seconds, total, vocabulary, phrases)


class _Clock:
    """How long each stage takes, and how far it is."""

    def __init__(self, observe: Observe | None, silos: int) -> None:
        self.observe, self.silos = observe, silos
        self.seconds: dict[str, float] = {}
        self.started = time.perf_counter()

    def done(self, what: str, number: int, made: Made = None) -> Made:  # type: ignore[assignment]
        """Passes on what was made of the silo of a number, and says so."""
        if self.observe is not None:
            self.observe(what, number, self.silos)
        return made

    def stage(self, name: str) -> None:
        """Ends a stage."""
        now = time.perf_counter()
        self.seconds[name], self.started = now - self.started, now
