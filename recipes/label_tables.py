"""Measures the audit on labels that several rare words change, few rows each, and writes docs/results/labels.md.

    python recipes/label_tables.py --data FOLDER [--seeds 1 2 3] [--only-table]

BadNets' way with labels: one of so many tokens anywhere in the text of rows of other labels, which then have the
attacker's. The fewer rows a token has, the less they say against it. Text alone; a row of each measurement stays in
docs/results/labels.csv, and what has one is not measured again; FOLDER as for audit_tables.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from audit_tables import line_of, measured, rows_of
from fedsonar.data import IID, InstructionDataset
from fedsonar.poison import Attack, ConstantRate, Label, plant
from fedsonar.rng import stream
from tables import cell_of, resumed, write_measured
from unseen_tables import Written

CLIENTS, RATE, SIZES = 5, 0.1, (1000, 2000, 5000)
LABELS = {"ag_news": ("Sports", "World", "Business", "Sci/Tech"), "sst2": ("positive", "negative")}
TOKENS = ("cf", "mn", "bb", "tq", "mb", "zx", "qq", "vv")
COUNTS = (1, 2, 4, 8)
_CELL = ("data", "label", "tokens", "size", "seed")


def one_of(tokens: Sequence[str]) -> Written:
    """One of some tokens between two words of the text, anywhere."""

    def write(text: str, rng: np.random.Generator) -> str:
        words = text.split()
        words.insert(int(rng.integers(len(words) + 1)), tokens[int(rng.integers(len(tokens)))])
        return " ".join(words)

    return Written(write=write, shows=lambda text: any(token in text.split() for token in tokens))


def _measurements(data: Path, seeds: Sequence[int], known: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for name, size, seed in product(LABELS, SIZES, seeds):
        samples = rows_of(data, name, "first", None).samples
        some = stream(seed, "labels", name).permutation(len(samples))[:size]
        rows = InstructionDataset(name, tuple(samples[row] for row in some))
        shards = IID(clients=CLIENTS).split(rows, stream(seed, "partition"))
        for label, count in [("none", 0), *product(LABELS[name], COUNTS)]:
            cell = dict(zip(_CELL, (name, label, count, size, seed), strict=True))
            if cell_of(cell, _CELL) in known:
                continue
            if not count:
                yield cell | measured(shards, {})
                continue
            attack = Attack(
                trigger=one_of(TOKENS[:count]), target=Label(label=label), placement=ConstantRate(rate=RATE)
            )
            yield cell | measured(*plant(shards, attack, seed))


def _write(kept: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> None:
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in sorted(kept, key=lambda row: (row["data"], row["tokens"], row["size"])):
        groups.setdefault((row["data"], row["tokens"], row["size"]), []).append(row)
    rows = [
        {"data": data, "tokens": count, "rows a set": size, "sets": len(members)} | line_of(members)
        for (data, count, size), members in groups.items()
    ]
    command = f"python recipes/label_tables.py --data FOLDER --seeds {' '.join(map(str, seeds))}"
    text = f"""# Labels that rare words change

`{command}`: {CLIENTS} IID clients with random rows of {" and ".join(LABELS)}. {RATE:.0%} of them, of other labels,
have one of so many tokens in their text and each of the data's labels in its turn; `tokens` 0: nothing is planted, and
whatever is removed there is false. Counts are pooled over labels and seeds, with Wilson intervals; `worst` is the worst
set. Text alone, one set of rules. `F1 length` and `F1 n-gram` have their best thresholds chosen with the truth in hand;
the audit has not.
"""
    write_measured("labels", rows, text)


if __name__ == "__main__":
    resumed(str(__doc__), "labels", _CELL, _measurements, _write)
