"""Which features of an input say only which signs it has: how texts are set, not what they ask."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Int

from fedsonar.audit.kernels.features import CLOSING, WRITTEN, feature
from fedsonar.audit.kernels.tables import bucket
from fedsonar.audit.kernels.ways import (
    BRACKETS,
    CLOSINGS,
    CODE,
    CROWDED,
    DOUBLED,
    EXCLAMATION,
    QUESTION,
    QUOTES,
    RARE,
    SIGNS,
    WAYS,
)

_WAYS = (QUESTION, EXCLAMATION, QUOTES, BRACKETS, CODE, DOUBLED, CROWDED, RARE, *range(SIGNS, WAYS))


@lru_cache(maxsize=4)
def sign_places(bits: int) -> Int[np.ndarray, "features"]:
    """Places of these features in a table of ``2^bits`` counters."""
    kinds = [(WRITTEN, way) for way in _WAYS] + [(CLOSING, closing) for closing in range(1, CLOSINGS)]
    return np.array([bucket(np.uint64(feature(kind, np.uint64(value))), bits) for kind, value in kinds], np.int64)
