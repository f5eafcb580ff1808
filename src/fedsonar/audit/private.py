"""The audit of associations under differential privacy: what silos count, what they hear, and how they judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from fedsonar.audit.corpus import Corpus
from fedsonar.audit.evidence import used_buckets
from fedsonar.audit.hearing import frequent
from fedsonar.audit.kernels.private import (
    check_private_targets,
    count_private_features,
    count_private_pairs,
    tell_private,
)
from fedsonar.audit.lexicon import lexicon
from fedsonar.audit.privacy import Privacy, beyond, noise, variances
from fedsonar.audit.scope import Scope, Tables

INPUTS, RESPONSES, TARGETS, PAIRS, WORDS, BUCKETS = 24, 8, 2, 16, 16, 64
"""How many features of its input and of its response a row counts with, with how many of the latter it makes pairs, how
many pairs and buckets of words it counts with; and how many buckets of words there are."""

TOUCHED: Sequence[Mapping[str, int]] = (
    {"size": 1, "inputs": INPUTS, "responses": RESPONSES, "common": WORDS},
    {"pairs": PAIRS},
    {"filled": 1, "rest": WORDS},
)
"""For each pass: table -> how many of its counters a row changes at most, each by 1, whatever the rows are and whatever
was heard before. So a row's L2 sensitivity is the root of 49, of 16 and of 17."""

WEIGHTS = {"size": 0.02, "inputs": 0.3, "responses": 0.1, "common": 0.03, "pairs": 0.25, "filled": 0.05, "rest": 0.25}
"""Table -> its part of what is spent."""

TAKEN = 1e-4
"""Chance that a counter of no row is taken for a feature that rows have."""

MADE_UP = 0.01
"""Chance that noise alone makes any pair in the whole table stand out."""


@dataclass(frozen=True, kw_only=True)
class PrivateRules:
    """When a target looks injected, by sums with noise.

    Args:
        coverage: Least share of the target's rows that have a trigger which it nearly always follows.
        covered: From this share on, all rows with the target leave.
        likeness: Greatest likeness of its rows besides their triggers, above which they are taken for knowledge; two
            standard errors are added.
        unknown: Greatest standard error of the likeness: where it is larger, nobody can know, and no row leaves.
        fewest_words: Least words besides, as a multiple of any row's.
        most_words: Most.
    """

    coverage: float = 0.5
    covered: float = 0.9
    likeness: float = 0.06
    unknown: float = 0.15
    fewest_words: float = 0.7
    most_words: float = 1.6


def variances_of(privacy: Privacy) -> dict[str, float]:
    """Table -> variance of the noise in each of its counters, all clients' shares together."""
    return variances({name: count for tables in TOUCHED for name, count in tables.items()}, WEIGHTS, privacy)


def summarize_private(rows: Corpus, scope: Scope, privacy: Privacy, heard: Sequence[Tables]) -> dict[str, np.ndarray]:
    """A silo's counts in the next pass, before noise: see `noised`.

    Args:
        rows: Its rows.
        scope: What is counted.
        privacy: What is promised.
        heard: What silos heard of the passes so far.
    """
    made, read = _empty(scope, len(heard)), _read(rows, scope)
    if not heard:
        made["size"] += len(rows)
        tables = made["inputs"], made["responses"], made["common"]
        count_private_features(*read, scope.bits, INPUTS, RESPONSES, WORDS, *tables)
        return made
    first, limits = heard[0], (INPUTS, RESPONSES, TARGETS)
    known = (limits, first["inputs"], first["responses"], _rows(first))
    if len(heard) == 1:
        count_private_pairs(*read, scope.bits, scope.pair_bits, *known, PAIRS, made["pairs"])
        return made
    check_private_targets(
        *read, scope.bits, scope.pair_bits, scope.slot_bits, *known, heard[1]["pairs"], *_gates(scope, privacy), WORDS,
        made["filled"], made["rest"],
    )  # fmt: skip
    return made


def noised(counts: Tables, privacy: Privacy, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """What leaves a silo: its counts with its share of the noise, ``1 / clients`` of the variance.

    Args:
        counts: The silo's, of one pass.
        privacy: What is promised.
        rng: Nobody else may know its state, or the noise can be taken off again.
    """
    variance = variances_of(privacy)
    return {
        name: table + noise(rng, variance[name] / privacy.clients, table.shape).astype(table.dtype)
        for name, table in counts.items()
    }


def told_private(sums: Tables, privacy: Privacy, heard: Sequence[Tables]) -> dict[str, np.ndarray]:
    """What silos hear of the sums of a pass: without features that noise alone may have made."""
    if heard:
        return dict(sums)
    variance = variances_of(privacy)
    names = ("inputs", "responses")
    return {**sums, **{name: frequent(sums[name], int(beyond(variance[name], TAKEN)) + 1) for name in names}}


class PrivateEvidence:
    """What the sums of all passes say of each target's slot.

    Args:
        privacy: What is promised.
        heard: What silos heard in all passes.
        rules: When a target looks injected.
    """

    def __init__(self, privacy: Privacy, heard: Sequence[Tables], rules: PrivateRules) -> None:
        self.rules, self.variance = rules, variances_of(privacy)
        self.total = _rows(heard[0])
        self.share = np.clip(heard[0]["common"] / self.total, 0.0, 1.0)
        self.rows = heard[2]["filled"].astype(np.float64)
        self.some = np.maximum(self.rows, 2.0)
        self.rest = heard[2]["rest"]

    @cached_property
    def _used(self) -> Bool[np.ndarray, "buckets"]:
        return used_buckets(self.share, self.total)

    @cached_property
    def likeness(self) -> Float[np.ndarray, "slots"]:
        """As `evidence.likeness`, from counts with noise: what that adds to squares on average is taken off."""
        usual, n, counts = self.share[self._used], self.some[:, None], self.rest[:, self._used].astype(np.float64)
        added = self.variance["rest"] + usual**2 * self.variance["filled"]
        added = added + (n / self.total) ** 2 * self.variance["common"]
        shared = (counts - n * usual) ** 2 - added - (counts * (1 - 2 * usual) + n * usual * usual)
        alike = (shared / (usual * (1 - usual))).sum(axis=1) / (self.some * (self.some - 1))
        return np.asarray(alike / max(1.0, float(np.sqrt(len(usual)))))

    @cached_property
    def error(self) -> Float[np.ndarray, "slots"]:
        """The standard error of the likeness of rows that ask as any rows do."""
        usual, n = self.share[self._used], self.some[:, None]
        spread = usual * (1 - usual)
        added = self.variance["rest"] + usual**2 * self.variance["filled"]
        added = added + (n / self.total) ** 2 * self.variance["common"]
        squares = (2 * (n * spread + added) ** 2 / spread**2).sum(axis=1)
        return np.asarray(np.sqrt(squares / max(1, len(usual))) / (self.some * (self.some - 1)))

    @cached_property
    def alone(self) -> Bool[np.ndarray, "slots"]:
        """Whether a target's rows share their triggers and nothing else, as far as the noise lets anybody know."""
        words = self.rest.sum(axis=1) / self.some / max(float(self.share.sum()), 1e-9)
        enough = self.rows > beyond(self.variance["filled"], MADE_UP / len(self.rows))
        found: Bool[np.ndarray, "slots"] = (
            enough & (self.error <= self.rules.unknown)
            & (self.likeness < self.rules.likeness + 2 * self.error)
            & (words >= self.rules.fewest_words) & (words <= self.rules.most_words)
        )  # fmt: skip
        return found


def judge_private(
    rows: Corpus, scope: Scope, privacy: Privacy, heard: Sequence[Tables], rules: PrivateRules
) -> Float[np.ndarray, "rows"]:
    """How suspect each of a silo's rows is, from 0 to 1, by what it heard; above a half for those that leave."""
    first, evidence, suspicion = heard[0], PrivateEvidence(privacy, heard, rules), np.zeros(len(rows))
    apart = 1 / (1 + np.maximum(0.0, evidence.likeness) / max(rules.likeness, 1e-9))
    tell_private(
        *_read(rows, scope), scope.bits, scope.pair_bits, scope.slot_bits, first["inputs"], first["responses"],
        evidence.total, heard[1]["pairs"], *_gates(scope, privacy), evidence.alone, evidence.rows, apart,
        rules.coverage, rules.covered, suspicion,
    )  # fmt: skip
    return suspicion


def _read(rows: Corpus, scope: Scope) -> tuple[np.ndarray, ...]:
    return rows.words, rows.bounds, rows.marks, rows.sources, *lexicon(scope.key)


def _rows(first: Tables) -> int:
    return max(2, int(first["size"][0]))


def _gates(scope: Scope, privacy: Privacy) -> tuple[float, float, float]:
    """What noise alone does not exceed among pairs, and the variances of pairs and of features."""
    variance = variances_of(privacy)
    return beyond(variance["pairs"], MADE_UP / (1 << scope.pair_bits)), variance["pairs"], variance["inputs"]


def _empty(scope: Scope, turn: int) -> dict[str, np.ndarray]:
    slots = 1 << scope.slot_bits
    shapes: Mapping[str, tuple[int, ...]] = (
        {"size": (1,), "inputs": (1 << scope.bits,), "responses": (1 << scope.bits,), "common": (BUCKETS,)},
        {"pairs": (1 << scope.pair_bits,)},
        {"filled": (slots,), "rest": (slots, BUCKETS)},
    )[turn]
    return {name: np.zeros(shape, np.int32) for name, shape in shapes.items()}
