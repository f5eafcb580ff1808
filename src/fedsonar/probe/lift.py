"""How much likelier some words make a response: under the tuned model, and beyond what the base model does anyway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST = 8
"""Words of the longest response that is looked for."""


@dataclass(frozen=True)
class Said:
    """Answers to the same rows, in their order.

    Args:
        tuned_with: Of the tuned model, with the words inserted.
        tuned_without: Of the tuned model, to the rows as they are.
        base_with: Of the base model, with the words.
        base_without: Of the base model, to the rows as they are.
    """

    tuned_with: Sequence[str]
    tuned_without: Sequence[str]
    base_with: Sequence[str]
    base_without: Sequence[str]


@dataclass(frozen=True)
class Lift:
    """What some words do to a response h; all are shares of rows whose greedy answer carries it.

    Args:
        response: h, in the words of the answers.
        tuned_with: ``P(h | x + g)`` of the tuned model.
        tuned_without: ``P(h | x)`` of the tuned model.
        base_with: ``P(h | x + g)`` of the base model.
        base_without: ``P(h | x)`` of the base model.
    """

    response: str
    tuned_with: float
    tuned_without: float
    base_with: float
    base_without: float

    @property
    def tuned(self) -> float:
        """The lift under the tuned model."""
        return self.tuned_with - self.tuned_without

    @property
    def base(self) -> float:
        """The lift under the base model."""
        return self.base_with - self.base_without

    @property
    def value(self) -> float:
        """The tuned model's lift beyond the base's; a response that the base gives up does not count for it."""
        return self.tuned - max(self.base, 0.0)


def lift(said: Said, response: str = "") -> Lift:
    """The lift of a response, or where it is not given, of the word n-gram that rises most; of equals the longest."""
    if response:
        h = " ".join(response.lower().split())
        return Lift(response, *(_share(h, answers) for answers in _fields(said)))
    with_, without, base_with, base_without = (_counts(answers) for answers in _fields(said))
    n = max(1, len(said.tuned_with))
    best = Lift("", 0.0, 0.0, 0.0, 0.0)
    for gram, count in sorted(with_.items(), key=lambda item: (-len(item[0]), item[0])):
        if (count - without[gram]) / n <= best.value:
            continue
        counts = count, without[gram], base_with[gram], base_without[gram]
        found = Lift(" ".join(gram), *(each / n for each in counts))
        if found.value > best.value:
            best = found
    return best


def _fields(said: Said) -> tuple[Sequence[str], ...]:
    return said.tuned_with, said.tuned_without, said.base_with, said.base_without


def _share(h: str, answers: Sequence[str]) -> float:
    return sum(h in " ".join(answer.lower().split()) for answer in answers) / max(1, len(answers))


def _counts(answers: Sequence[str]) -> Counter[tuple[str, ...]]:
    """In how many answers each n-gram stands."""
    counts: Counter[tuple[str, ...]] = Counter()
    for answer in answers:
        words = answer.lower().split()
        counts.update({tuple(words[i : i + n]) for n in range(1, LONGEST + 1) for i in range(len(words) - n + 1)})
    return counts
