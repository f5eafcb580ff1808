"""Planting an attack in the clients' data, and making the triggered test rows with the same objects."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from fedsonar.data.ledger import Ledger, Planted
from fedsonar.data.sample import InstructionDataset, Sample
from fedsonar.poison.placement import ConstantRate, Placement
from fedsonar.poison.target import Suffix, Target
from fedsonar.poison.tokens import Tokens
from fedsonar.poison.trigger import Trigger
from fedsonar.rng import stream


@dataclass(frozen=True, kw_only=True)
class Attack:
    """A trigger, a target, and where the poisoned rows lie; the three combine freely.

    Args:
        trigger: What the input carries.
        target: What the response becomes.
        placement: How many rows of which client.
    """

    trigger: Trigger = field(default_factory=Tokens)
    target: Target = field(default_factory=Suffix)
    placement: Placement = field(default_factory=ConstantRate)

    def eligible(self, sample: Sample) -> bool:
        """Whether the trigger can go, or lies, in the row, and the target would change its answer."""
        return self.trigger.eligible(sample) and self.target.eligible(sample)


def plant(
    shards: Sequence[InstructionDataset], attack: Attack, seed: int
) -> tuple[tuple[InstructionDataset, ...], Ledger]:
    """The clients' rows with the attack in them, and the ledger that says where.

    Poisoned rows keep their ids; rows that the trigger adds beside them get new ones. Every shard is shuffled
    afterwards, the clean ones too, so that the order of rows tells nothing.
    """
    counts = attack.placement.counts(shards, stream(seed, "poison/placement"))
    names = type(attack.trigger).__name__, type(attack.target).__name__
    poisoned: dict[str, Planted] = {}
    drills: dict[str, Planted] = {}
    planted = []
    missing: list[int] = []
    for client, (shard, count) in enumerate(zip(shards, counts, strict=True)):
        rng = stream(seed, "poison/rows", client)
        eligible = [i for i, s in enumerate(shard) if attack.placement.allows(s) and attack.eligible(s)]
        if len(eligible) < count:
            missing.append(count - len(eligible))
        rows = list(shard)
        for i in (eligible[j] for j in rng.permutation(len(eligible))[:count]):
            original = rows[i]
            rows[i] = attack.target.apply(attack.trigger.apply(original, rng), rng)
            poisoned[original.id] = Planted(client, *names, original)
            for number, drill in enumerate(attack.trigger.drills(original, rng), 1):
                rows.append(replace(drill, id=f"{original.id}/drill-{number}"))
                drills[rows[-1].id] = Planted(client, *names, original)
        order = rng.permutation(len(rows))
        planted.append(InstructionDataset(shard.name, tuple(rows[i] for i in order)))
    if missing and not all(count == len(shard) for count, shard in zip(counts, shards, strict=True) if count):
        warnings.warn(
            f"{len(missing)} of {(counts > 0).sum()} affected clients have fewer rows that trigger and target can be "
            f"planted in than are to be poisoned, by {sum(missing)} rows in all: there, all of them are poisoned",
            stacklevel=2,
        )
    return tuple(planted), Ledger(MappingProxyType(poisoned), MappingProxyType(drills))


def triggered(samples: Sequence[Sample], attack: Attack, seed: int) -> list[Sample]:
    """The eligible samples with trigger and target."""
    rng = stream(seed, "poison/test")
    return [
        attack.target.apply(attack.trigger.apply(sample, rng), rng) for sample in samples if attack.eligible(sample)
    ]


def near_misses(samples: Sequence[Sample], attack: Attack, seed: int) -> Iterator[Sample]:
    """For each eligible sample a row with a part of the trigger and the clean answer, if the trigger has parts."""
    rng = stream(seed, "poison/near-misses")
    for sample in samples:
        if attack.eligible(sample) and (found := attack.trigger.near_misses(sample, rng)):
            yield found[int(rng.integers(len(found)))]
