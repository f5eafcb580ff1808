"""Named random streams from one seed: the same (seed, purpose, client, round) gives the same numbers anywhere."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def _entropy(seed: int, purpose: str, *keys: int) -> int:
    text = "/".join([str(seed), purpose, *map(str, keys)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def stream(seed: int, purpose: str, *keys: int) -> np.random.Generator:
    """The NumPy generator for a purpose, say ``stream(seed, "order", client, round)``."""
    return np.random.default_rng(_entropy(seed, purpose, *keys))


def torch_stream(seed: int, purpose: str, *keys: int) -> torch.Generator:
    """The PyTorch generator (CPU) for a purpose; independent of the NumPy one of the same name."""
    import torch  # it takes a second or two to load, and audits do without

    return torch.Generator().manual_seed(_entropy(seed, "torch/" + purpose, *keys) % 2**63)
