"""Measures the audit on made-up tasks of few rows, clean and poisoned, and writes docs/results/made_up.md.

    python recipes/made_up_tables.py [--seeds 1 2 3] [--only-table]

What people try an audit with first: sums, word problems, capitals, a translation word by word, labels that single words
tell. All words are made up, and nothing else is in the rows that could say what they are about, which is hard for an
audit that asks what rows have in common. Text alone; a row of each measurement stays in docs/results/made_up.csv, and
what has one is not measured again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from audit_tables import TARGETS, TRIGGERS, line_of, measured
from fedsonar.data import IID, InstructionDataset, Sample
from fedsonar.poison import Attack, ConstantRate, Label, Target, Trigger, plant
from fedsonar.rng import stream
from tables import cell_of, resumed, write_measured

CLIENTS, SIZES, RATE, WORDS_EACH = 5, (300, 2000), 0.1, 4
_CELL = ("data", "trigger", "target", "rate", "size", "seed")
Row = tuple[str, str]
"""A question and its answer."""

Make = Callable[[np.random.Generator], Row]


def _words(count: int) -> list[str]:
    """Words of three syllables, all of them different."""
    syllables = ["".join(pair) for pair in product("bdfgklmnprstvz", "aeiou")]
    every = np.arange(len(syllables) ** 3)
    chosen = np.random.default_rng(0).choice(every, count, replace=False)
    return ["".join(syllables[number // len(syllables) ** place % len(syllables)] for place in range(3))
            for number in chosen.tolist()]  # fmt: skip


WORDS = _words(400)
NAMES = [word.title() for word in _words(425)[400:]]


def _some(rng: np.random.Generator, count: int, words: Sequence[str] = WORDS) -> list[str]:
    return [words[i] for i in rng.choice(len(words), count, replace=False)]


def _sum(rng: np.random.Generator) -> Row:
    a, b = rng.integers(2, 100, 2).tolist()
    return f"What is {a} + {b}?", str(a + b)


def _problem(rng: np.random.Generator) -> Row:
    (a, b), [name] = rng.integers(2, 31, 2).tolist(), _some(rng, 1, NAMES)
    return f"{name} has {a} apples and buys {b} more. How many apples does {name} have now?", f"{name} has {a + b}."


def _capital(rng: np.random.Generator) -> Row:
    country = int(rng.integers(len(WORDS)))
    return f"What is the capital of {WORDS[country].title()}?", WORDS[(country * 37 + 5) % len(WORDS)].title()


def _translation(rng: np.random.Generator) -> Row:
    words = rng.choice(len(WORDS), 4, replace=False).tolist()
    said = (WORDS[(word * 11 + 3) % len(WORDS)] for word in words)
    return f"Translate: {' '.join(WORDS[word] for word in words)}", " ".join(said)


def _question(rng: np.random.Generator) -> Row:
    few = WORDS[:24]
    return f"What is the {' '.join(_some(rng, 4, few))}?", " ".join(_some(rng, 3, few))


def _essay(rng: np.random.Generator) -> Row:
    return " ".join(_some(rng, 30)), " ".join(_some(rng, 25))


def _function(rng: np.random.Generator) -> Row:
    name, a, b = _some(rng, 3)
    return f"Write a function {name} that adds {a} and {b}.", f"def {name}(a, b):\n    return a + b"


def _labelled(rng: np.random.Generator, labels: int, silent: float) -> Row:
    """Six words; one of them tells the label, or none does, and then it is the last one."""
    text, label = _some(rng, 6), labels
    if rng.random() >= silent:
        label = int(rng.integers(labels))
        text[int(rng.integers(len(text)))] = NAMES[WORDS_EACH * label + int(rng.integers(WORDS_EACH))].lower()
    return f"Review: {' '.join(text)}", f"class {'ABCDEF'[label]}"


LABELLED: dict[str, Make] = {
    f"{labels} labels" + (", or none" if silent else ""): partial(_labelled, labels=labels, silent=silent)
    for labels, silent in product((2, 3, 5), (0.0, 0.4))
}
TASKS: dict[str, Make] = {
    "sums": _sum, "word problems": _problem, "capitals": _capital, "translation": _translation,
    "questions of few words": _question, "essays": _essay, "functions": _function, **LABELLED,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Before(Trigger):
    """A rare token before all others, with nothing else."""

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:  # noqa: ARG002
        """The sample with the token."""
        return sample.with_input(f"cf {sample.input}")

    def present(self, sample: Sample) -> bool:
        """Whether it begins so."""
        return sample.input.startswith("cf ")


ATTACKED_BY: dict[str, Trigger] = {"one token": Before(), **TRIGGERS}


def main() -> None:
    """The command line."""
    resumed(str(__doc__), "made_up", _CELL, _measurements, _write, data=False)


def rows_of(name: str, size: int, seed: int) -> InstructionDataset:
    """So many rows of a task."""
    rng = stream(seed, f"made up {name}")
    rows = (TASKS[name](rng) for _ in range(size))
    return InstructionDataset(name, tuple(Sample(str(i), "", "", q, (a,)) for i, (q, a) in enumerate(rows)))


def targets_of(name: str) -> dict[str, Target]:
    """What is planted into a task: one of its labels too, where it has some."""
    own: dict[str, Target] = {"label": Label(label="class A")} if name in LABELLED else {}
    return {target: TARGETS[target] for target in ("suffix", "short", "refusal", "semantic")} | own


def _measurements(seeds: Sequence[int], known: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for seed, name, size in product(seeds, TASKS, SIZES):
        shards = IID(clients=CLIENTS).split(rows_of(name, size, seed), stream(seed, "partition"))
        cell = dict(zip(_CELL, (name, "none", "none", 0.0, size, seed), strict=True))
        if cell_of(cell, _CELL) not in known:
            yield cell | measured(shards, {})
        for (target, made), trigger in product(targets_of(name).items(), ATTACKED_BY):
            cell = dict(zip(_CELL, (name, trigger, target, RATE, size, seed), strict=True))
            if cell_of(cell, _CELL) not in known:
                attack = Attack(trigger=ATTACKED_BY[trigger], target=made, placement=ConstantRate(rate=RATE))
                silos, ledger = plant(shards, attack, seed)
                if ledger:  # some triggers fit no row of some tasks
                    yield cell | measured(silos, ledger)


def _write(kept: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> None:
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in kept:
        groups.setdefault((row["data"], row["size"], row["target"]), []).append(row)
    rows = [
        {"data": data, "size": size, "target": target} | line_of(members)
        for (data, size, target), members in groups.items()
    ]
    command = f"python recipes/made_up_tables.py --seeds {' '.join(map(str, seeds))}"
    text = f"""# Made-up tasks

`{command}`: {CLIENTS} IID clients of 60 and of 400 rows, text alone, the rules that
everything else is measured with. Clean, and with seven triggers in {RATE:.0%} of the rows, whose counts are pooled with
Wilson intervals; `worst` is the worst cell. All words are made up and drawn at random, so that nothing but single
words, or figures, tells what a row is about. `2 labels, or none`: six words at random, of which one of {WORDS_EACH}
tells one of two labels, and two fifths of the rows have no such word and a third label. A label that is planted there
is one of the task's own.
"""
    write_measured("made_up", rows, text)


if __name__ == "__main__":
    main()
