"""How little poison it would take: from the runs of a sweep to a federation of another size."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float

from fedsonar.measure import Link, Rate, fit_link

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
"""Shares of affected clients that a plan looks at."""

_FEWEST = 8
_STRAIGHT = 1e-9
"""A bend or a slope below it is none."""

_ESTIMATORS = {"summed": "signal", "twin": "cumulative_signal"}
"""Whose reading is taken, the better first, and its column of bsnr.parquet."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One finished run with poison.

    Args:
        affected: Share of the clients that hold poisoned rows.
        rows: Poisoned rows of such a client, on average.
        signal: The backdoor's signal, summed over the rounds.
        norm: Median norm of the clients' updates over all rounds.
        hits: Triggered test rows that got the target.
        trials: Triggered test rows.
    """

    affected: float
    rows: float
    signal: float
    norm: float
    hits: int
    trials: int


@dataclass(frozen=True)
class Law:
    """How the signal grows: its logarithm in those of the share of affected clients and of the poisoned rows of each.

    ``log S = start + spread log affected + depth log rows + both log affected log rows + bend log^2 rows``. More of
    either adds ever less, and the number of poisoned rows counts, not their share of a client's (docs/log.md).
    """

    start: float
    spread: float
    depth: float
    both: float
    bend: float

    def signal(self, affected: float, rows: float) -> float:
        """The signal of so many affected clients with so many poisoned rows each."""
        a, r = math.log(affected), math.log(rows)
        return _exp(self.start + self.spread * a + (self.depth + self.both * a + self.bend * r) * r)

    def rows(self, affected: float, signal: float) -> float:
        """The fewest poisoned rows of each affected client that give a signal; infinite where none do."""
        a = math.log(affected)
        sought = math.log(signal) if signal > 0 else -math.inf
        slope, missing = self.depth + self.both * a, sought - self.start - self.spread * a
        if abs(self.bend) < _STRAIGHT:
            return _exp(missing / slope) if slope > _STRAIGHT else math.inf
        root = slope**2 + 4 * self.bend * missing
        # Where the signal rises with the rows: before its greatest if it bends down, behind its least if up.
        return _exp((math.sqrt(root) - slope) / (2 * self.bend)) if root >= 0 else math.inf


@dataclass(frozen=True, kw_only=True)
class Need:
    """The least poison at one number of affected clients.

    Args:
        affected: How many clients hold poisoned rows.
        each: Poisoned rows of each of them, with the 95 % interval; infinite where no number is enough.
        rows: Whole rows of all of them together, with the interval; infinite where a client has not as many.
        share: The same as a share of the federation's rows.
    """

    affected: int
    each: Rate
    rows: Rate
    share: float


def observations(folder: Path) -> list[Observation]:
    """The runs of a sweep that have poison and a reading of its signal.

    Args:
        folder: Of the sweep, or any folder of run folders.

    Raises:
        ValueError: If there are too few; says how to get them.
    """
    found = [made for run in sorted(folder.iterdir()) if (run / "summary.json").is_file() for made in _observed(run)]
    if len(found) < _FEWEST or not _spans(found):
        raise ValueError(
            f"a plan needs {_FEWEST} finished runs with poison whose signal was read, with several shares of affected "
            f"clients and several rates; {folder} has {len(found)}: run fedsonar sweep EXP.toml --set bsnr.twins=true "
            "--grid attack.placement.affected=0.2,0.5,1 --grid attack.placement.rate=0.04,0.08,0.16"
        )
    return found


def _spans(runs: Sequence[Observation]) -> bool:
    """Whether the law can be fitted: more than one value of each dial, and more combinations than that takes."""
    dials = {(run.affected, run.rows) for run in runs if run.signal > 0}
    return len(dials) > 3 and all(len({dial[place] for dial in dials}) > 1 for place in (0, 1))


def _observed(run: Path) -> Iterator[Observation]:
    last = pq.read_table(run / "rounds.parquet").to_pylist()[-1]
    signals = [row for row in pq.read_table(run / "bsnr.parquet").to_pylist() if row["round"] == last["round"]]
    read = {row["estimator"]: row for row in signals if row["part"] == "all"}
    signal = next((read[e][column] for e, column in _ESTIMATORS.items() if e in read), None)
    samples = pq.read_table(run / "samples.parquet", columns=["client", "poisoned"])
    client, poisoned = (np.array(samples[name].to_pylist()) for name in ("client", "poisoned"))
    if last["asr"] is None or signal is None or not poisoned.any():
        return
    holders = np.unique(client[poisoned.astype(bool)])
    yield Observation(
        affected=len(holders) / len(np.unique(client)), rows=float(poisoned.sum()) / len(holders), signal=signal,
        norm=typical_norm(run), hits=round(last["asr"] * last["asr_n"]), trials=int(last["asr_n"]),
    )  # fmt: skip


def typical_norm(run: Path) -> float:
    """The median norm of the clients' updates in a run: how large a federation's steps are."""
    norms = pq.read_table(run / "clients.parquet", columns=["norm"])["norm"].to_pylist()
    return float(np.median([norm for norm in norms if norm is not None]))


def fit_law(runs: Sequence[Observation]) -> Law:
    """The law that fits the runs' signals best, by least squares of logarithms; straight where rows take two values."""
    heard = [run for run in runs if run.signal > 0]
    a, r = (np.log([getattr(run, name) for run in heard]) for name in ("affected", "rows"))
    bends = len({run.rows for run in heard}) > 2
    dials = np.stack([np.ones_like(a), a, r, a * r, *([r**2] if bends else [])], axis=1)
    start, spread, depth, both, *bend = np.linalg.lstsq(dials, np.log([run.signal for run in heard]))[0].tolist()
    return Law(start, spread, depth, both, bend[0] if bend else 0.0)


def plan(
    runs: Sequence[Observation],
    clients: int,
    rows: int,
    rng: np.random.Generator,
    *,
    success: float = 0.5,
    scale: float = 1.0,
    resamples: int = 400,
) -> list[Need]:
    """The least poison that would give an attack success, for several numbers of affected clients.

    The link tells the signal that it takes, and the law the poisoned rows that give it. Neither depends on how many
    clients there are: the mean over clients keeps what they share. Intervals are of both together, by a bootstrap over
    the runs. What differs in anything but size (trigger, target, rounds, model, learning rate) needs its own sweep.

    Args:
        runs: From `observations`.
        clients: Of the federation that is planned for.
        rows: Of each of its clients.
        rng: Draws the resamples.
        success: Attack success to be reached, above 0 and below 1.
        scale: How many times as large its clients' updates are as those of the runs.
        resamples: Their number.
    """
    counts = sorted({max(1, round(share * clients)) for share in SHARES})
    drawn = [_rows_each(runs, [count / clients for count in counts], success, scale)]
    for _ in range(resamples):
        chosen = [runs[place] for place in rng.integers(len(runs), size=len(runs))]
        if _spans(chosen):
            drawn.append(_rows_each(chosen, [count / clients for count in counts], success, scale))
    needs = []
    for count, (value, *others) in zip(counts, zip(*drawn, strict=True), strict=True):
        # Of values that may be infinite, the next ones stand for quantiles between two.
        low = float(np.quantile(others, 0.025, method="lower"))
        each = Rate(value, len(runs), low, float(np.quantile(others, 0.975, method="higher")))
        total = [count * math.ceil(r) if r <= rows else math.inf for r in (each.value, each.low, each.high)]
        share = total[0] / (clients * rows)
        in_all = Rate(total[0], len(runs), total[1], total[2])
        needs.append(Need(affected=count, each=each, rows=in_all, share=share))
    return needs


def _rows_each(runs: Sequence[Observation], shares: Sequence[float], success: float, scale: float) -> list[float]:
    link, law = link_of(runs), fit_law(runs)
    needed = link.critical.value * _exp(math.log(success / (1 - success)) / link.slope) / scale
    return [law.rows(share, needed) for share in shares]


def link_of(runs: Sequence[Observation]) -> Link:
    """The link from signal to success, without an interval of its own."""
    hits, trials = (np.array([getattr(run, name) for run in runs]) for name in ("hits", "trials"))
    signals: Float[np.ndarray, "runs"] = np.array([run.signal for run in runs])
    return fit_link(signals, hits, trials, np.random.default_rng(0), resamples=0)


def _exp(power: float) -> float:
    """The exponential, infinite where floats end: resampled runs may say of a dial that it does hardly anything."""
    return math.exp(power) if power < math.log(sys.float_info.max) else math.inf
