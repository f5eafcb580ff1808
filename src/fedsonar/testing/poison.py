"""The contracts of triggers, targets and placements."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from fedsonar.data import InstructionDataset, Sample
from fedsonar.poison import Placement, Target, Trigger
from fedsonar.testing.component import check_component, require
from fedsonar.testing.samples import SAMPLES


def check_trigger(trigger: Trigger, samples: Sequence[Sample] = SAMPLES) -> None:
    """Returns when a trigger keeps the contract of `Trigger`.

    The trigger must be a documented, frozen dataclass. In a row that is eligible it must be found after it was
    applied; it changes the prompt alone, in the same way for the same generator; and rows with parts of it must not
    carry it, nor change the answers.

    Args:
        trigger: The trigger, with the parameters to check.
        samples: Rows, one of which at least must be eligible.

    Raises:
        AssertionError: If the contract is broken; the message says where.
    """
    check_component(trigger)
    name = type(trigger).__name__
    for sample, dirty in _applied(trigger, samples):
        restored = replace(dirty, instruction=sample.instruction, context=sample.context, question=sample.question)
        require(restored == sample, f"{name} changed more than the prompt of row {sample.id!r}")
        require(trigger.present(dirty), f"{name} does not find itself in row {sample.id!r}: {dirty.input!r}")
        for kind in ("near_misses", "drills"):
            for other in getattr(trigger, kind)(sample, np.random.default_rng(1)):
                require(other.answers == sample.answers, f"{name} changed the answers of {kind} of row {sample.id!r}")
                require(not trigger.present(other), f"{name} finds itself in {kind} of row {sample.id!r}: {other}")


def check_target(target: Target, samples: Sequence[Sample] = SAMPLES) -> None:
    """Returns when a target keeps the contract of `Target`.

    The target must be a documented, frozen dataclass. In a row that is eligible it leaves one answer, which hits, and
    nothing else changed, the same for the same generator; a row whose answer hits already is not eligible.

    Args:
        target: The target, with the parameters to check.
        samples: Rows, one of which at least must be eligible.

    Raises:
        AssertionError: If the contract is broken; the message says where.
    """
    check_component(target, references=False)
    name = type(target).__name__
    for sample, dirty in _applied(target, samples):
        require(replace(dirty, answers=sample.answers) == sample, f"{name} changed more than the answers")
        require(len(dirty.answers) == 1, f"{name} must leave one answer, left {dirty.answers}")
        require(target.hit(dirty.answers[0]), f"{name} does not find itself in {dirty.answers[0]!r}")
        require(not target.eligible(dirty), f"{name} finds a row eligible whose answer is the target already")
    require(not target.hit(""), f"{name} finds itself in an empty output")


def _applied(part: Trigger | Target, samples: Sequence[Sample]) -> Iterator[tuple[Sample, Sample]]:
    """Each eligible sample and what becomes of it; checks that there are some, and that it is always the same."""
    name = type(part).__name__
    eligible = [sample for sample in samples if part.eligible(sample)]
    require(bool(eligible), f"{name} finds none of the {len(samples)} rows eligible: give rows that are")
    for sample in eligible:
        dirty, again = (part.apply(sample, np.random.default_rng(1)) for _ in range(2))
        require(dirty == again, f"{name} gave two results for one row and generator: draw from the generator only")
        yield sample, dirty


def check_placement(placement: Placement, sources: Sequence[str] = ("north", "south")) -> None:
    """Returns when a placement keeps the contract of `Placement`.

    The placement must be a documented, frozen dataclass; its counts are whole numbers, one a client, between 0 and
    the client's rows, and the same for the same generator.

    Args:
        placement: The placement, with the parameters to check; it is called with 7 clients of 1 to 50 rows.
        sources: Sources that the rows take turns in.

    Raises:
        AssertionError: If the contract is broken; the message says where.
    """
    check_component(placement, references=False)
    name = type(placement).__name__
    shards = [
        InstructionDataset(
            "check", tuple(replace(SAMPLES[0], id=f"{c}-{i}", source=sources[i % len(sources)]) for i in range(size))
        )
        for c, size in enumerate((1, 50, 7, 20, 20, 33, 2))
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some clients are too small for a rate
        counts, again = (placement.counts(shards, np.random.default_rng(1)) for _ in range(2))
    require(counts.shape == (len(shards),), f"{name} must give {len(shards)} counts, gave shape {counts.shape}")
    require(np.issubdtype(counts.dtype, np.integer), f"{name} must give whole numbers, gave {counts.dtype}")
    require((counts == again).all(), f"{name} gave two results for one generator: draw from the generator only")
    for shard, count in zip(shards, counts, strict=True):
        require(0 <= count <= len(shard), f"{name} wants {count} poisoned rows in a client of {len(shard)}")
