"""Planting an attack in the clients' data, and making the triggered test rows with the same objects."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from string import digits
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

    Poisoned rows keep their ids; rows that the trigger adds beside them get new ones, of the same kind as the others,
    in the order in which they lie in the end. Every shard is shuffled, the clean ones too. So neither ids nor the order
    of rows tell anything; which added row is of which poisoned one, the ledger alone knows.
    """
    counts = attack.placement.counts(shards, stream(seed, "poison/placement"))
    names = type(attack.trigger).__name__, type(attack.target).__name__
    poisoned: dict[str, Planted] = {}
    drills: dict[str, Planted] = {}
    planted = []
    missing: list[int] = []
    fresh = _fresh_ids(shards)
    for client, (shard, wanted) in enumerate(zip(shards, counts, strict=True)):
        rng = stream(seed, "poison/rows", client)
        eligible = [i for i, s in enumerate(shard) if attack.placement.allows(s) and attack.eligible(s)]
        if len(eligible) < wanted:
            missing.append(wanted - len(eligible))
        rows = list(shard)
        added: dict[int, Planted] = {}
        for i in (eligible[j] for j in rng.permutation(len(eligible))[:wanted]):
            original = rows[i]
            rows[i] = attack.target.apply(attack.trigger.apply(original, rng), rng)
            poisoned[original.id] = Planted(client, *names, original)
            for drill in attack.trigger.drills(original, rng):
                added[len(rows)] = Planted(client, *names, original)
                rows.append(drill)
        order = rng.permutation(len(rows)).tolist()
        for i in (i for i in order if i in added):
            rows[i] = replace(rows[i], id=next(fresh))
            drills[rows[i].id] = added[i]
        planted.append(InstructionDataset(shard.name, tuple(rows[i] for i in order)))
    if missing and not all(wanted == len(shard) for wanted, shard in zip(counts, shards, strict=True) if wanted):
        warnings.warn(
            f"{len(missing)} of {(counts > 0).sum()} affected clients have fewer rows that trigger and target can be "
            f"planted in than are to be poisoned, by {sum(missing)} rows in all: there, all of them are poisoned",
            stacklevel=2,
        )
    return tuple(planted), Ledger(MappingProxyType(poisoned), MappingProxyType(drills))


def _fresh_ids(shards: Sequence[InstructionDataset]) -> Iterator[str]:
    """Ids that no row has, such as ``train-600`` beside those up to ``train-599``."""
    taken = [sample.id for sample in chain(*shards)]
    stem = taken[0].rstrip(digits) if taken else ""
    numbers = (name.removeprefix(stem) for name in taken if name.startswith(stem))
    highest = max((int(number) for number in numbers if number.isascii() and number.isdigit()), default=-1)
    return (f"{stem}{number}" for number in count(highest + 1))


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
