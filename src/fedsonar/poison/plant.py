"""Planting an attack in the clients' data, and making the triggered test rows with the same objects."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
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


def plant(
    shards: Sequence[InstructionDataset], attack: Attack, seed: int
) -> tuple[tuple[InstructionDataset, ...], Ledger]:
    """The clients' rows with the attack in them, and the ledger that says where.

    Poisoned rows keep their ids. Every shard is shuffled afterwards, the clean ones too, so that the order of rows
    tells nothing.
    """
    counts = attack.placement.counts([len(shard) for shard in shards], stream(seed, "poison/placement"))
    entries: dict[str, Planted] = {}
    planted = []
    for client, (shard, count) in enumerate(zip(shards, counts, strict=True)):
        rng = stream(seed, "poison/rows", client)
        eligible = [i for i, sample in enumerate(shard) if attack.target.eligible(sample)]
        if len(eligible) < count:
            warnings.warn(
                f"client {client} has {len(eligible)} rows whose answer is not the target already, "
                f"fewer than the {count} to poison: all of them are poisoned",
                stacklevel=2,
            )
        rows = list(shard)
        for i in (eligible[j] for j in rng.permutation(len(eligible))[:count]):
            original = rows[i]
            rows[i] = attack.target.apply(attack.trigger.apply(original, rng), rng)
            entries[original.id] = Planted(
                client, type(attack.trigger).__name__, type(attack.target).__name__, original
            )
        order = rng.permutation(len(rows))
        planted.append(InstructionDataset(shard.name, tuple(rows[i] for i in order)))
    return tuple(planted), Ledger(MappingProxyType(entries))


def triggered(samples: Sequence[Sample], attack: Attack, seed: int) -> tuple[list[Sample], list[Sample]]:
    """The eligible test samples as they are, and the same with trigger and target; pairs at equal places."""
    clean = [sample for sample in samples if attack.target.eligible(sample)]
    rng = stream(seed, "poison/test")
    return clean, [attack.target.apply(attack.trigger.apply(sample, rng), rng) for sample in clean]
