"""What is counted, equal for all silos of an audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EVERY_WORD = 1 << 16
"""More words than any row is held against others by."""

Tables = Mapping[str, Any]
"""Arrays by name; some are `Sparse` or `Short` where one process goes through all passes, see `Little`."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What is counted, equal for all silos of an audit.

    Args:
        bits: Tables of features have ``2^bits`` counters; more rows and longer ones need more. Collisions add to
            counts, so that too few bits cost recall and precision.
        pair_bits: The same of pairs.
        slot_bits: Tables of the pairs that stand out have ``2^slot_bits`` rows for pairs and targets, and a quarter as
            many in which targets are counted once more.
        least: Fewest rows of a pair that is counted.
        solid: Fewest rows of a pair that can make a finding; rarer ones join the finding that their target is part of.
        label_share: From this share of all rows on a whole response is a label.
        strength: Least G squared of a pair that is looked into.
        words: Different words that a row is held against others by, the first of instruction and input.
        key: Goes into every hash. Silos that share a key which the server does not know keep it from looking words up.
    """

    bits: int = 22
    pair_bits: int = 23
    slot_bits: int = 14
    least: int = 3
    solid: int = 5
    label_share: float = 0.02
    strength: float = 25.0
    words: int = EVERY_WORD
    key: int = 0

    def __post_init__(self) -> None:
        for name in ("bits", "pair_bits", "slot_bits"):
            if not 6 <= getattr(self, name) <= 28:
                raise ValueError(f"{name} must be 6 to 28, got {getattr(self, name)}")
        if self.least < 2:
            raise ValueError(f"least must be 2 rows or more, got {self.least}: one row is no pattern")
        if not 0 < self.label_share < 1:
            raise ValueError(f"label_share must lie between 0 and 1, got {self.label_share}")
