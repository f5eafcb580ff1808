"""The embedded world as a source of instruction data: no download, no network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from fedsonar.data.atlas.tasks import closed_book, contextual, listing, review
from fedsonar.data.atlas.world import Subject, World, build_world
from fedsonar.data.sample import InstructionDataset, Sample
from fedsonar.data.source import Source, Splits
from fedsonar.rng import stream

__all__ = ["Atlas", "Subject", "World", "build_world"]


@dataclass(frozen=True, kw_only=True)
class Atlas(Source):
    """Instruction rows about an invented world that the embedded model has read about.

    Training rows ask about subjects that the model's own text asked about; test rows ask about those that it only
    stated. Contextual rows are about subjects invented for the row, different in training and test. `Sample.source` is
    the region, whose dialect dresses half of the questions.

    Args:
        train: Training rows.
        test: Test rows.
        closed_book: Share of questions without a text.
        contextual: Share of questions on a text.
        review: Share of reviews to call positive or negative.
        listing: Share of texts whose names are to be listed.
        seed: Seed of the rows; the world itself is always the one that the model knows.
    """

    train: int = 1000
    test: int = 400
    closed_book: float = 0.65
    contextual: float = 0.1
    review: float = 0.2
    listing: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.train, self.test) < 1:
            raise ValueError(f"Atlas needs at least one training and one test row, got {self.train} and {self.test}")
        shares = (self.closed_book, self.contextual, self.review, self.listing)
        if min(shares) < 0 or sum(shares) <= 0:
            raise ValueError(f"the shares of Atlas must be 0 or more, one of them above 0, got {shares}")

    def load(self) -> Splits:
        """The rows of both splits."""
        return Splits(self._rows("train", self.train), self._rows("test", self.test))

    def _rows(self, split: str, count: int) -> InstructionDataset:
        world = _world()
        rng = stream(self.seed, f"atlas/{split}")
        subjects = [s for s in world.subjects if (s.name in world.asked) == (split == "train")]
        facts = [(s, relation) for s in subjects for relation in s.facts]
        works = [s for s in subjects if s.kind == "work"]
        shares = np.array([self.closed_book, self.contextual, self.review, self.listing])
        kinds = rng.choice(len(shares), size=count, p=shares / shares.sum())
        deal = _endless(len(facts), rng)

        def row(id: str, kind: int) -> Sample:
            if kind == 0:
                return closed_book(id, *facts[next(deal)], rng)
            if kind == 1:
                return contextual(id, rng, most=2)
            return review(id, rng, works) if kind == 2 else listing(id, rng)

        return InstructionDataset(f"atlas/{split}", tuple(row(f"{split}-{i}", k) for i, k in enumerate(kinds)))


@cache
def _world() -> World:
    """The world that the embedded model knows, made once."""
    return build_world()


def _endless(count: int, rng: np.random.Generator) -> Iterator[int]:
    """Indices below `count` in random order, each once before any comes again."""
    while True:
        yield from map(int, rng.permutation(count))
