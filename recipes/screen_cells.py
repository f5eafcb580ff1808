"""The cells of the screens' benchmark: data, trigger, target, placement and rate of each federation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from attack_tables import TARGETS, TRIGGERS
from fedsonar.data import IID, Atlas, Files, InstructionDataset, Ledger, QuestionWord, Words
from fedsonar.poison import Attack, DirichletRate, Natural, Placement, Scenario, UniformRate, plant
from fedsonar.rng import stream
from real_tables import IN_REVIEWS, SENTIMENT

CLIENTS, ROWS = 25, 5000
PLACEMENTS = ("IID", "NIID-1", "NIID-2", "NIID-3")
RATES = (0.002, 0.01, 0.02, 0.05, 0.1, 0.3)
RATE = 0.1
"""Where one other factor changes."""
EVERYWHERE = ("suffix", "short", "matched", "semantic")
"""Targets that any data set takes."""
PUBLISHED = ("tokens", "sentence", "composite", "style")
QUESTION_SETS = ("webqa", "freebaseqa", "nq", "coqa")
REAL = (*QUESTION_SETS, "triviaqa", "sst2", "dolly15k")
ATLAS = "Atlas"


@dataclass(frozen=True)
class Cell:
    """One federation of the benchmark.

    Args:
        data: Name of the data set.
        trigger: Name of the trigger; empty where nothing is planted.
        target: Name of the target.
        placement: How poisoned rows lie over the clients.
        rate: Poisoned rows over all rows.
        seed: Of partition and poison.
    """

    data: str
    trigger: str = "tokens"
    target: str = "suffix"
    placement: str = "IID"
    rate: float = RATE
    seed: int = 1

    @property
    def name(self) -> str:
        """For progress and the table of what is kept."""
        what = f"{self.trigger}-{self.target}-{self.placement}-{self.rate:g}" if self.trigger else "clean"
        return f"{self.data}-{what}-{self.seed}"

    @property
    def attack(self) -> Attack | None:
        """What is planted."""
        if not self.trigger:
            return None
        own = _OWN.get(self.data, {})
        target = SENTIMENT if self.data == "sst2" and self.target == "label" else TARGETS[self.target]
        return Attack(
            trigger=own.get(self.trigger, TRIGGERS[self.trigger]), target=target,
            placement=_placed(self.placement, self.rate),
        )  # fmt: skip

    def shards(self, rows: InstructionDataset) -> tuple[tuple[InstructionDataset, ...], Ledger]:
        """The clients' rows with the poison in them, and where it lies."""
        dealt = IID(clients=CLIENTS).split(rows, stream(self.seed, "partition"))
        return (dealt, Ledger()) if self.attack is None else plant(dealt, self.attack, self.seed)


_OWN = {
    "sst2": IN_REVIEWS,
    "dolly15k": {"scenario": Scenario(words=("river",)), "natural": Natural(feature=QuestionWord(any=("how",)))},
    **{
        name: {"scenario": Scenario(words=("river", "film", "novel")), "natural": Natural(feature=Words(any=("city",)))}
        for name in (*QUESTION_SETS, "triviaqa")
    },
}


def _placed(placement: str, rate: float) -> Placement:
    """The published settings: IID is as even as whole rows allow, NIID-2 and 3 are Dirichlet's, capped and not.

    NIID-1 is uniform up to four times the rate, as published for 10 %, so it has twice as many poisoned rows in all.
    """
    return {
        "IID": DirichletRate(rate=rate, alpha=1e6, cap=1.0),
        "NIID-1": UniformRate(low=0.0, high=min(1.0, 4 * rate)),
        "NIID-2": DirichletRate(rate=rate, alpha=0.5, cap=0.5),
        "NIID-3": DirichletRate(rate=rate, alpha=0.5, cap=1.0),
    }[placement]


def rows_of(data: str, folder: Path | None) -> InstructionDataset:
    """The data set's rows, as the benchmark uses them.

    Raises:
        ValueError: If it is a real data set and there is no folder of them.
    """
    if data == ATLAS:
        return Atlas(train=ROWS, test=100).load().train
    if folder is None:
        raise ValueError(f"{data} is a real data set: say where it lies with --data FOLDER")
    answer = "shortest" if data == "triviaqa" else "all" if data in ("webqa", "freebaseqa") else "first"
    return Files(path=str(folder / data), limit=ROWS, answer=answer).load().train


def one_factor(data: str, seeds: Sequence[int]) -> Iterator[Cell]:
    """One factor at a time about rare tokens, suffix, IID, 10 %, and the federation without poison."""
    base = Cell(data)
    for seed in seeds:
        cells = [replace(base, trigger="", target="", rate=0.0), base]
        cells += [replace(base, trigger=trigger) for trigger in TRIGGERS]
        targets = ("label",) if data == "sst2" else ()
        cells += [replace(base, target=target) for target in ("short", "matched", "semantic", *targets)]
        cells += [replace(base, placement=placement) for placement in PLACEMENTS]
        cells += [replace(base, rate=rate) for rate in RATES]
        yield from (replace(cell, seed=seed) for cell in dict.fromkeys(cells))


def published(seeds: Sequence[int]) -> Iterator[Cell]:
    """The published comparison in full: four question sets, triggers and placements at 10 %, with the suffix."""
    for data in QUESTION_SETS:
        for trigger in PUBLISHED:
            for placement in PLACEMENTS:
                yield from (Cell(data, trigger, placement=placement, seed=seed) for seed in seeds)


def every_combination(seeds: Sequence[int]) -> Iterator[Cell]:
    """Atlas: every trigger, target, placement and rate together.

    First all triggers and targets with IID and 10 %, then with the other placements, then with other rates; the rest is
    last, so that what is measured of it is balanced at any time.
    """
    for seed in seeds:
        yield Cell(ATLAS, "", "", rate=0.0, seed=seed)
        dials = [(placement, rate) for placement in PLACEMENTS for rate in RATES]
        for placement, rate in sorted(dials, key=lambda dial: (dial[0] != "IID" and dial[1] != RATE, dial[1] != RATE)):
            for trigger in TRIGGERS:
                yield from (Cell(ATLAS, trigger, target, placement, rate, seed) for target in EVERYWHERE)
