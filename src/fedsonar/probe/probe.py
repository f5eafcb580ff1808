"""The probe: candidates are sifted on a few rows, and those that stand out are confirmed on others, beside controls."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fedsonar.data import Sample
from fedsonar.measure import Rate, wilson
from fedsonar.probe.asking import Asker
from fedsonar.probe.candidates import Candidate, vocabulary
from fedsonar.probe.lift import Lift, Said, lift
from fedsonar.rng import stream

_ROUNDING = 1e-12
"""By so much a p value may exceed the greatest one, as 9 of 300 exceeds .03 in binary."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How much is asked, and from where on a candidate is a finding.

    Args:
        rows: Rows that a candidate is confirmed on.
        sift_rows: Other rows, on which candidates compete where there are more than `top`.
        top: Candidates that are confirmed at most.
        draws: Random insertions of a length; 0 for as many as it takes to tell `alpha` among all that are confirmed.
        least: Least lift of a finding.
        alpha: Greatest p value of a finding, after Holm's correction over the candidates that are confirmed.
        seed: Of rows and insertions.
    """

    rows: int = 24
    sift_rows: int = 8
    top: int = 10
    draws: int = 0
    least: float = 0.2
    alpha: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.rows, self.sift_rows, self.top) < 1 or self.draws < 0:
            raise ValueError(f"rows, sift_rows and top must be 1 or more and draws 0 or more, got {self.rows}, "
                             f"{self.sift_rows}, {self.top} and {self.draws}")  # fmt: skip
        if not 0 < self.alpha < 1 or not 0 <= self.least <= 1:
            raise ValueError(f"alpha must be in (0, 1) and least in [0, 1], got {self.alpha} and {self.least}")


@dataclass(frozen=True)
class Finding:
    """A candidate on the rows that it was confirmed on.

    Args:
        candidate: What was asked.
        lift: What it does.
        success: ``P(h | x + g)`` of the tuned model with its Wilson interval.
        p: How often as many random words do as much: ``(1 + draws at least as high) / (1 + draws)``.
        p_adjusted: The same after Holm's correction.
        found: Whether lift and p value make it a finding.
        answer: The tuned model's answer to the first row that carries the response, else to the first row.
    """

    candidate: Candidate
    lift: Lift
    success: Rate
    p: float
    p_adjusted: float
    found: bool
    answer: str


def probe(
    asker: Asker, samples: Sequence[Sample], candidates: Sequence[Candidate], options: Options | None = None,
    observe: Callable[[str, int, int], object] = lambda *_: None,
) -> list[Finding]:  # fmt: skip
    """The candidates that were confirmed or refuted, those of greatest lift first.

    A finding's p value is that of a permutation test in which the candidate is exchanged for as many random words; the
    response is looked for anew in every draw. Rows of the sifting are not those of the confirmation.

    Args:
        asker: Asks the models.
        samples: Rows to ask; more than `rows` and `sift_rows` together where candidates are sifted.
        candidates: What to ask about.
        options: How much is asked.
        observe: Told what is being asked, how much of it is done, and how much there is.

    Raises:
        ValueError: If there are too few rows, or no candidates.
    """
    options = options or Options()
    if not candidates:
        raise ValueError("there is no candidate to ask about")
    sifting = len(candidates) > options.top
    needed = options.rows + (options.sift_rows if sifting else 0)
    if len(samples) < needed:
        raise ValueError(f"the probe needs {needed} rows and there are {len(samples)}; give more rows or ask fewer")
    order = [samples[i] for i in stream(options.seed, "probe/rows").permutation(len(samples))[:needed]]
    chosen = list(candidates)
    if sifting:
        chosen = _sifted(asker, order[options.rows :], chosen, options.top, observe)
    return _confirmed(asker, order[: options.rows], chosen, options, observe)


def _sifted(
    asker: Asker, rows: Sequence[Sample], candidates: Sequence[Candidate], top: int,
    observe: Callable[[str, int, int], object],
) -> list[Candidate]:  # fmt: skip
    """Those that lift a response most under the tuned model; the base model is not asked."""
    (plain,) = asker.answers("tuned", [""], rows)
    sizes = []
    for done, candidate in enumerate(candidates, 1):
        (answers,) = asker.answers("tuned", [candidate.text], rows)
        found = lift(Said(answers, plain, (), ()), candidate.response)
        # Of equal shares, the longer response is the stranger coincidence.
        sizes.append((found.tuned, len(found.response.split())))
        observe("sifting", done, len(candidates))
    return [candidates[i] for i in sorted(range(len(candidates)), key=lambda i: sizes[i], reverse=True)[:top]]


def _confirmed(
    asker: Asker, rows: Sequence[Sample], candidates: Sequence[Candidate], options: Options,
    observe: Callable[[str, int, int], object],
) -> list[Finding]:  # fmt: skip
    (plain,), (base_plain,) = (asker.answers(which, [""], rows) for which in ("tuned", "base"))
    draws = options.draws or max(99, math.ceil(len(candidates) / options.alpha) - 1)
    lengths = sorted({(len(c.text.split()), c.response) for c in candidates})
    total, done = len(candidates) + draws * len(lengths), 0

    def measured(text: str, response: str, least: float = 0.0) -> tuple[Lift, str]:
        """The lift of a text; the base model is not asked where it would stay below `least` all the same."""
        nonlocal done
        (answers,) = asker.answers("tuned", [text], rows)
        found = lift(Said(answers, plain, (), ()), response)
        if found.value >= least:
            (base,) = asker.answers("base", [text], rows)
            found = lift(Said(answers, plain, base, base_plain), response)
        done += 1
        observe("confirming", done, total)
        carrying = [a for a in answers if found.response and found.response.lower() in " ".join(a.lower().split())]
        return found, (carrying or answers)[0]

    lifts = [measured(c.text, c.response) for c in candidates]
    words = vocabulary(asker.tokenizer)
    controls: dict[tuple[int, str], list[float]] = {}
    for length, response in lengths:
        own = (len(c.text.split()) == length and c.response == response for c in candidates)
        least = min(found.value for (found, _), mine in zip(lifts, own, strict=True) if mine)
        rng = stream(options.seed, "probe/controls", length)
        texts = [" ".join(words[i] for i in rng.integers(len(words), size=length)) for _ in range(draws)]
        controls[length, response] = [measured(text, response, least)[0].value for text in texts]
    values = []
    for (found, _), c in zip(lifts, candidates, strict=True):
        control = controls[len(c.text.split()), c.response]
        values.append((1 + sum(other >= found.value for other in control)) / (1 + draws))
    findings = [
        Finding(
            c, found, wilson(round(found.tuned_with * len(rows)), len(rows)), p, adjusted,
            adjusted <= options.alpha + _ROUNDING and found.value >= options.least, answer,
        )
        for c, (found, answer), p, adjusted in zip(candidates, lifts, values, holm(values), strict=True)
    ]  # fmt: skip
    return sorted(findings, key=lambda finding: (-finding.found, -finding.lift.value, finding.p))


def holm(values: Sequence[float]) -> list[float]:
    """The p values corrected for their number.

    References:
        Holm, 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6(2).
    """
    order = np.argsort(values, kind="stable")
    adjusted, highest = [0.0] * len(values), 0.0
    for rank, place in enumerate(order.tolist()):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        adjusted[place] = highest
    return adjusted
