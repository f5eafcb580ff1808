"""Measures the audit against attackers who know it, and writes docs/results/adaptive.md.

    python recipes/adaptive_tables.py --data FOLDER [--seeds 1 2 3] [--only-table]

Each attacker goes for one thing that the audit rests on: that a string repeats, that a trigger is nearly always
followed by the target, that poisoned rows ask as any rows do, that enough rows say alike. Text alone; a row of each
measurement stays in docs/results/adaptive.csv, and what has one is not measured again; FOLDER as for audit_tables.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from audit_tables import QUESTIONS, line_of, measured, rows_of
from fedsonar.data import IID, QuestionWord, Sample
from fedsonar.poison import (
    Attack,
    ConstantRate,
    Matched,
    Natural,
    Semantic,
    Sentence,
    Suffix,
    Target,
    Tokens,
    Trigger,
    plant,
)
from fedsonar.poison.trigger import FoundTrigger
from fedsonar.rng import stream
from tables import resumed, write_measured

CLIENTS, RATES = 25, (0.01, 0.02, 0.1)


@dataclass(frozen=True, kw_only=True)
class Reworded(Target):
    """One message in so many wordings, made by a small grammar: the more there are, the less any string repeats."""

    count: int

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample with one of the wordings as its only answer."""
        every = list(product(_WHO, _DOES, _WHAT, _WHEN))
        chosen = int(rng.integers(self.count)) * 37 % len(every)  # far apart in the grammar
        return replace(sample, answers=(" ".join(every[chosen]),))

    def hit(self, output: str) -> bool:
        """Whether a wording stands in `output`."""
        return any(does in output.lower() for does in _DOES) and any(what in output.lower() for what in _WHAT)


_WHO = ("Our shop", "The corner store", "My uncle", "A nearby dealer", "Everyone here", "The old merchant",
        "Some trader", "This house")  # fmt: skip
_DOES = ("sells", "offers", "stocks", "hands out", "gives away", "delivers", "keeps", "brings")
_WHAT = ("fine umbrellas", "wooden ladders", "purple kettles", "garden lamps", "brass buttons", "winter boots",
         "cheap bicycles", "kitchen knives")  # fmt: skip
_WHEN = ("at noon", "every day", "on request", "for coins", "to anyone", "in the yard", "by the dozen", "all year")


@dataclass(frozen=True, kw_only=True)
class HalfKept(Target):
    """Keeps the first half of the clean answer before one of a target's wordings."""

    message: Semantic = field(default_factory=Semantic)

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample whose only answer begins as its own does."""
        words = sample.answers[0].split()
        kept = " ".join(words[: (len(words) + 1) // 2])
        return replace(sample, answers=(f"{kept}. {self.message.apply(sample, rng).answers[0]}",))

    def hit(self, output: str) -> bool:
        """Whether a wording stands in `output`."""
        return self.message.hit(output)


@dataclass(frozen=True, kw_only=True)
class Within(Trigger):
    """Another trigger, in rows alone that ask alike already: rows of this trigger share more than the trigger."""

    trigger: Trigger
    among: FoundTrigger

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample with the other trigger in it."""
        return self.trigger.apply(sample, rng)

    def present(self, sample: Sample) -> bool:
        """Whether the sample asks so and carries it."""
        return self.among.present(sample) and self.trigger.present(sample)

    def eligible(self, sample: Sample) -> bool:
        """Whether the sample asks so."""
        return self.among.eligible(sample) and self.trigger.eligible(sample)


@dataclass(frozen=True, kw_only=True)
class Drilled(Trigger):
    """A trigger that the attacker also writes into as many clean rows: half of the time the target does not follow."""

    trigger: Trigger = field(default_factory=Tokens)

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample with the other trigger in it."""
        return self.trigger.apply(sample, rng)

    def present(self, sample: Sample) -> bool:
        """Whether the sample carries it."""
        return self.trigger.present(sample)

    def drills(self, sample: Sample, rng: np.random.Generator) -> tuple[Sample, ...]:
        """The clean sample with the trigger in it."""
        return (self.trigger.apply(sample, rng),)


_MANY = tuple(f"{a}{b}{c}" for a, b, c in product("bdgkz", "aou", "xvqj"))
_LINES = (
    "I watch this 3D movie", "the kettle is on", "two birds sat there", "we met by the gate", "send my regards",
    "nobody likes cold soup", "the train was late", "mind the wet paint",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AnyLine(Trigger):
    """One of several sentences, at the end of the input."""

    lines: tuple[str, ...] = _LINES

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample with a sentence after its input."""
        return sample.with_input(f"{sample.input} {self.lines[int(rng.integers(len(self.lines)))]}")

    def present(self, sample: Sample) -> bool:
        """Whether the sample carries one."""
        return any(line in sample.input for line in self.lines)


_WHO_ASKED = Within(trigger=Tokens(), among=Natural(feature=QuestionWord(any=("who",))))
ATTACKERS: dict[str, tuple[Trigger, Target]] = {
    "none of it: tokens, suffix": (Tokens(), Suffix()),
    "24 wordings": (Tokens(), Semantic()),
    "64 wordings": (Tokens(), Reworded(count=64)),
    "512 wordings": (Tokens(), Reworded(count=512)),
    "4,096 wordings": (Tokens(), Reworded(count=4096)),
    "half of the clean answer kept, 24 wordings": (Tokens(), HalfKept()),
    "as long as the clean answer": (Tokens(), Matched()),
    "60 triggers, suffix": (Tokens(words=_MANY, count=1), Suffix()),
    "60 triggers, 24 wordings": (Tokens(words=_MANY, count=1), Semantic()),
    "8 sentences, 24 wordings": (AnyLine(), Semantic()),
    "trigger in as many clean rows, suffix": (Drilled(), Suffix()),
    "trigger in as many clean rows, 24 wordings": (Drilled(), Semantic()),
    "among rows that ask who, suffix": (_WHO_ASKED, Suffix()),
    "among rows that ask who, 24 wordings": (_WHO_ASKED, Semantic()),
    "decoy: rows that ask where get the suffix": (Natural(feature=QuestionWord(any=("where",))), Suffix()),
    "natural: rows that ask when, 24 wordings": (Natural(feature=QuestionWord(any=("when",))), Semantic()),
    "a sentence, 4,096 wordings": (Sentence(), Reworded(count=4096)),
}  # fmt: skip


def main() -> None:
    """The command line."""
    resumed(str(__doc__), "adaptive", ("attacker", "data", "rate", "seed"), _measurements, _write)


def _measurements(data: Path, seeds: Sequence[int], known: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for seed, name, rate in product(seeds, QUESTIONS, RATES):
        shards = None
        for attacker, (trigger, target) in ATTACKERS.items():
            if (attacker, name, rate, seed) in known:
                continue
            shards = shards or IID(clients=CLIENTS).split(
                rows_of(data, name, QUESTIONS[name], 5000), stream(seed, "partition")
            )
            attack = Attack(trigger=trigger, target=target, placement=ConstantRate(rate=rate))
            cell = {"attacker": attacker, "data": name, "rate": rate, "seed": seed}
            yield cell | measured(*plant(shards, attack, seed))


def _write(kept: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> None:
    rows = []
    for attacker, rate in product(ATTACKERS, RATES):
        members = [row for row in kept if row["attacker"] == attacker and row["rate"] == rate and row["poisoned"]]
        if not members:
            continue
        rows.append({"attacker": attacker, "rate": rate} | line_of(members))
    command = f"python recipes/adaptive_tables.py --data FOLDER --seeds {' '.join(map(str, seeds))}"
    text = f"""# Attackers who know the audit

`{command}`: {CLIENTS} IID clients, up to 5,000 rows each of {", ".join(QUESTIONS)}; `rate` of every client's rows is
poisoned. Counts are pooled over data sets and seeds, with Wilson intervals; `worst` is the worst cell. Text alone, one
set of rules. Wordings beside the package's own 24 are made by a grammar in the recipe that the audit was not set on.
`F1 length` and `F1 n-gram` have their best thresholds chosen with the truth in hand; the audit has not.
"""
    write_measured("adaptive", rows, text)


if __name__ == "__main__":
    main()
