"""The BSNR of a run, round by round, and what its records keep of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from fedsonar.experiment import Bsnr
from fedsonar.measure import Reading, ReadingSpace, blind, crossfit, cumulative, gram_by_site, placebo, plain, twin
from fedsonar.model import Layout
from fedsonar.records import Run, SignalRecord, Update
from fedsonar.rng import stream

PLACEBO = "placebo group: nobody is affected"
UNKNOWN = "nobody knows who is affected"
WHOLE = "all"
"""The part of the adapter that is all of it."""

_GROUPS = 16
"""Clients are summed over the rounds in so many groups at most, whose spread tells the noise of the sum."""

Gram = Float64[np.ndarray, "vectors vectors"]


class Gauge:
    """Reads the signal of each round and sums it over rounds.

    In a round without any affected client a random half of the clients stands in for them: a placebo, whose interval
    shows how the estimator reads when there is nothing to hear. It is no part of the sum over the rounds that have
    affected clients; before the first of these, and in a clean run, placebos are summed by themselves.

    Args:
        options: How to estimate.
        layout: The adapter's layout.
        seed: The experiment's seed.
        run: The run whose tensors keep the sums, so that a resumed run sums over all rounds.
    """

    def __init__(self, options: Bsnr, layout: Layout, seed: int, run: Run) -> None:
        self.options, self.layout, self.seed, self.run = options, layout, seed, run

    def read(
        self,
        round: int,
        start: Float[Tensor, "dim"],
        updates: Sequence[Update],
        weights: Float[np.ndarray, "clients"],
        affected: Bool[np.ndarray, "clients"] | None,
        twins: Sequence[Update] = (),
    ) -> dict[str, Any]:
        """The round's columns of `RoundRecord` that start with ``bsnr_``; all readings go to the run's signals.

        Args:
            round: The round's number.
            start: The adapter that clients started from.
            updates: The clients' updates.
            weights: Their aggregation weights.
            affected: Which of them hold poisoned rows; None where nobody knows, which leaves the blind reading.
            twins: The updates of the affected clients' twins, in the clients' order; none where twins were not trained.
        """
        if affected is None:
            deltas = torch.stack([update.delta for update in updates])
            _, products = next(self._parts(self.options.space, start, deltas))
            return {"bsnr_note": UNKNOWN} | _blind(products)
        holders, nobody = affected, not affected.any()
        if nobody:
            affected = placebo(len(updates), stream(self.seed, "bsnr/placebo"))
        weights = weights / weights.sum()
        deltas = torch.stack([update.delta for update in [*updates, *twins]])
        columns: dict[str, Any] = {"bsnr_note": PLACEBO if nobody else ""}
        spaces: tuple[ReadingSpace, ...] = get_args(ReadingSpace) if self.options.parts else (self.options.space,)
        for space in spaces:
            for part, products in self._parts(space, start, deltas):
                for estimator, reading in self._readings(products, weights, affected, bool(twins)):
                    total = self._add(f"{estimator}.{space}.{part}", reading, nobody=nobody)
                    self.run.signals.append(_record(round, estimator, space, part, reading, total))
                    if (space, part) == (self.options.space, WHOLE):
                        columns |= _columns(f"bsnr_{estimator}", reading, total)
                        if estimator == "crossfit" and not nobody:
                            columns["bsnr_note"] = reading.reason
                if (space, part) == (self.options.space, WHOLE):
                    columns |= _blind(products[: len(updates), : len(updates)])
        if self.options.twins:
            reading = self._summed(updates, weights, holders, twins)
            self.run.signals.append(_record(round, "summed", "factors", WHOLE, reading, reading))
            columns |= _columns("bsnr_summed", reading)
        return columns

    def _summed(
        self,
        updates: Sequence[Update],
        weights: Float[np.ndarray, "clients"],
        affected: Bool[np.ndarray, "clients"],
        twins: Sequence[Update],
    ) -> Reading:
        """The twins' reading of what clients sent in all rounds so far, added up: what turns between rounds cancels.

        In the space of the factors, as products do not add up. Clients with the same number modulo 16 are one group,
        so that a few vectors say it all.
        """
        dim = len(updates[0].delta)
        sent, clean, weight = self._sum("sent", dim), self._sum("clean", dim), self._sum("weight", 1)
        left = iter(twins)
        for update, share, poisoned in zip(updates, weights.tolist(), affected.tolist(), strict=True):
            group = update.client % _GROUPS
            sent[group] += share * update.delta.cpu()
            clean[group] += share * (next(left) if poisoned else update).delta.cpu()
            weight[group, 0] += share
        seen = weight[:, 0].nonzero().flatten()
        changed = seen[(sent[seen] != clean[seen]).any(dim=1)]
        scale = weight.sum() / weight  # so that the groups' weighted mean is the sum over the rounds
        vectors = torch.cat([sent[seen] * scale[seen], clean[changed] * scale[changed]]).double()
        shares = (weight[seen, 0] / weight.sum()).double().numpy()
        products = (vectors @ vectors.T).numpy()
        poisoned_groups = np.isin(seen.numpy(), changed.numpy())
        rng = stream(self.seed, "bsnr")
        return twin(products, shares / shares.sum(), poisoned_groups, rng, self.options.resamples)

    def _sum(self, name: str, width: int) -> Float[Tensor, "groups width"]:
        """Each group's sum over the rounds, which the run's tensors keep; zero at first."""
        return self.run.tensors.setdefault(f"bsnr.summed.{name}", torch.zeros(_GROUPS, width, dtype=torch.float32))

    def _parts(
        self, space: ReadingSpace, start: Float[Tensor, "dim"], deltas: Float[Tensor, "vectors dim"]
    ) -> Iterator[tuple[str, Gram]]:
        """The adapter's parts, the whole of it first, each with its inner products."""
        found: dict[str, Gram] = {}
        for site, products in gram_by_site(self.layout, start, deltas, space).items():
            for part in (WHOLE, f"layer {site.layer}", site.kind) if self.options.parts else (WHOLE,):
                found[part] = found[part] + products if part in found else products
        yield from found.items()

    def _readings(
        self,
        products: Gram,
        weights: Float[np.ndarray, "clients"],
        affected: Bool[np.ndarray, "clients"],
        twins: bool,
    ) -> Iterator[tuple[str, Reading]]:
        clients = products[: len(weights), : len(weights)]
        yield "plain", plain(clients, weights, affected)
        # The same generator every round: a draw then has the same error in all rounds; see `cumulative`.
        yield "crossfit", crossfit(clients, weights, affected, stream(self.seed, "bsnr"), self.options.resamples)
        if twins:
            yield "twin", twin(products, weights, affected, stream(self.seed, "bsnr"), self.options.resamples)

    def _add(self, key: str, reading: Reading, *, nobody: bool) -> Reading:
        """The sum over the rounds so far, this one included, which the run's tensors keep: S, N, and the draws."""
        heard = f"bsnr.{key}"
        if nobody and heard in self.run.tensors:
            return cumulative([_unpacked(self.run.tensors[heard])])
        key = f"bsnr.placebo.{key}" if nobody else heard
        past = self.run.tensors.get(key)
        total = cumulative([reading] if past is None else [_unpacked(past), reading])
        self.run.tensors[key] = _packed(total, self.options.resamples)
        return total


def _packed(reading: Reading, draws: int) -> Float[Tensor, "numbers"]:
    drawn = np.full((2, draws), math.nan) if reading.draws is None else reading.draws
    return torch.from_numpy(np.concatenate([[reading.signal, reading.noise], drawn.ravel()]))


def _unpacked(numbers: Float[Tensor, "numbers"]) -> Reading:
    values = numbers.numpy()
    drawn = values[2:].reshape(2, -1)
    return Reading(float(values[0]), float(values[1]), draws=None if np.isnan(drawn).all() else drawn)


def _record(round: int, estimator: str, space: str, part: str, reading: Reading, total: Reading) -> SignalRecord:
    numbers = {"signal": reading.signal, "noise": reading.noise, "ratio": reading.ratio}
    numbers |= {"low": reading.low, "high": reading.high}
    numbers |= {"cumulative_signal": total.signal, "cumulative_noise": total.noise, "cumulative_ratio": total.ratio}
    numbers |= {"cumulative_low": total.low, "cumulative_high": total.high}
    known = {name: _known(value) for name, value in numbers.items()}
    return SignalRecord(round=round, estimator=estimator, space=space, part=part, reason=reading.reason, **known)


def _columns(name: str, reading: Reading, total: Reading | None = None) -> dict[str, Any]:
    columns = {}
    for prefix, read in ((name, reading), (f"{name}_cumulative", total)):
        if read is None:
            continue
        columns[f"{prefix}_db"] = _known(read.db)
        if not name.endswith("plain"):
            columns |= {f"{prefix}_signal": _known(read.signal), f"{prefix}_ratio": _known(read.ratio)}
            columns |= {f"{prefix}_low": _known(read.low), f"{prefix}_high": _known(read.high)}
    return columns


def _blind(products: Gram) -> dict[str, float | None]:
    gauge = blind(products)
    return {"bsnr_blind_ratio": _known(gauge.ratio), "bsnr_blind_limit": _known(gauge.limit / gauge.edge)}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
