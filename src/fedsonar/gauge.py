"""The BSNR of a run, round by round, and what its records keep of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fedsonar.experiment import Bsnr
from fedsonar.measure import Reading, crossfit, cumulative, gram, placebo, plain
from fedsonar.model import Layout
from fedsonar.records import Run, Update
from fedsonar.rng import stream

PLACEBO = "placebo group: nobody is affected"


class Gauge:
    """Reads the signal of each round and sums it over rounds.

    In a round without any affected client a random half of the clients stands in for them: a placebo, whose interval
    shows how the estimator reads when there is nothing to hear.

    Args:
        options: How to estimate.
        layout: The adapter's layout.
        seed: The experiment's seed.
        run: The run whose tensors keep the readings, so that a resumed run sums over all rounds.
    """

    def __init__(self, options: Bsnr, layout: Layout, seed: int, run: Run) -> None:
        self.options, self.layout, self.seed, self.run = options, layout, seed, run

    def read(
        self,
        start: Float[Tensor, "dim"],
        updates: Sequence[Update],
        weights: Float[np.ndarray, "clients"],
        affected: Bool[np.ndarray, "clients"],
    ) -> dict[str, Any]:
        """The round's columns of `RoundRecord` that start with ``bsnr_``."""
        nobody = not affected.any()
        if nobody:
            affected = placebo(len(updates), stream(self.seed, "bsnr/placebo"))
        weights = weights / weights.sum()
        products = gram(self.layout, start, torch.stack([u.delta for u in updates]), self.options.space)
        # The same generator every round: a draw then takes the same clients in all rounds; see `cumulative`.
        rng = stream(self.seed, "bsnr")
        crossed = crossfit(
            products, weights, affected, rng, splits=self.options.splits, resamples=self.options.resamples
        )
        read = {"plain": plain(products, weights, affected), "crossfit": crossed}
        columns: dict[str, Any] = {}
        for name, reading in read.items():
            self._remember(name, reading)
            total = cumulative(self._history(name))
            columns |= {f"bsnr_{name}_db": _known(reading.db), f"bsnr_{name}_cumulative_db": _known(total.db)}
            if name == "crossfit":
                for part, value in (("", reading), ("cumulative_", total)):
                    columns |= {
                        f"bsnr_{name}_{part}ratio": _known(value.ratio),
                        f"bsnr_{name}_{part}low": _known(value.low),
                        f"bsnr_{name}_{part}high": _known(value.high),
                    }
        columns["bsnr_note"] = PLACEBO if nobody else crossed.reason
        return columns

    def _remember(self, name: str, reading: Reading) -> None:
        """Appends a reading to the run's tensors: S, N, and the bootstrap draws of S and N^2."""
        row = torch.tensor([[reading.signal, reading.noise]], dtype=torch.float64)
        empty = np.full((2, self.options.resamples), math.nan)
        draws = torch.from_numpy(empty if reading.draws is None else np.asarray(reading.draws))[None]
        for key, value in ((name, row), (f"{name}.draws", draws)):
            past = self.run.tensors.get(f"bsnr.{key}")
            self.run.tensors[f"bsnr.{key}"] = value if past is None else torch.cat([past, value])

    def _history(self, name: str) -> list[Reading]:
        rows, draws = self.run.tensors[f"bsnr.{name}"].tolist(), self.run.tensors[f"bsnr.{name}.draws"].numpy()
        return [
            Reading(signal, noise, draws=None if np.isnan(drawn).all() else drawn)
            for (signal, noise), drawn in zip(rows, draws, strict=True)
        ]


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
