"""Which hidden state stands for a row."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float

from fedsonar.screen.screen import Silo
from fedsonar.screen.tuning import Tuning

State = Literal["first", "last", "mean"]
"""``first``: the prompt read and nothing of the response. ``last``: both read. ``mean``: over the response's tokens."""


def representations(silo: Silo, state: State, tuning: Tuning) -> Float[np.ndarray, "rows width"]:
    """What the tuned model's output layer reads of each row, in double precision.

    Raises:
        ValueError: If there is no model to look at the rows.
    """
    if silo.features is None:
        raise ValueError(f"client {silo.client}'s rows come without a model; choose a screen that reads the text alone")
    found: Float[np.ndarray, "rows width"] = getattr(tuning.tuned(silo.features, silo.client), f"{state}_states")
    return found.astype(np.float64)
