"""How little poison it would take: from the runs of a sweep to a federation of another size."""

from __future__ import annotations

import math
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
_ESTIMATORS = {"summed": "signal", "twin": "cumulative_signal"}
"""Whose reading is taken, the better first, and its column of bsnr.parquet."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One finished run with poison.

    Args:
        affected: Share of the clients that hold poisoned rows.
        rate: Share of poisoned rows among those clients' rows.
        signal: The backdoor's signal, summed over the rounds.
        norm: Median norm of the clients' updates over all rounds.
        hits: Triggered test rows that got the target.
        trials: Triggered test rows.
    """

    affected: float
    rate: float
    signal: float
    norm: float
    hits: int
    trials: int


@dataclass(frozen=True)
class Law:
    """How the signal grows with the dials: ``signal = exp(offset) affected^spread rate^depth``.

    Spread over more clients, poison adds up; deeper in one client it saturates: `spread` is near 1 and `depth` below.
    """

    offset: float
    spread: float
    depth: float

    def rate(self, affected: float, signal: float) -> float:
        """The rate at which so many affected clients give a signal."""
        return math.exp((math.log(signal) - self.offset - self.spread * math.log(affected)) / self.depth)


@dataclass(frozen=True, kw_only=True)
class Need:
    """The least poison at one number of affected clients.

    Args:
        affected: How many clients hold poisoned rows.
        rate: Share of their rows, with its 95 % interval; above 1 where no poison of theirs is enough.
        rows: Poisoned rows of all of them together, with the interval; nan where the rate is above 1.
        share: The same as a share of the federation's rows.
    """

    affected: int
    rate: Rate
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
    if len(found) < _FEWEST or len({(o.affected, o.rate) for o in found}) < 4:
        raise ValueError(
            f"a plan needs {_FEWEST} finished runs with poison, of at least 4 combinations of affected and rate, whose "
            f"signal was read; {folder} has {len(found)}: run fedsonar sweep EXP.toml --set bsnr.twins=true "
            "--grid attack.placement.affected=0.2,0.5,1 --grid attack.placement.rate=0.04,0.08,0.16"
        )
    return found


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
        affected=len(holders) / len(np.unique(client)), rate=float(poisoned[np.isin(client, holders)].mean()),
        signal=signal, norm=typical_norm(run), hits=round(last["asr"] * last["asr_n"]), trials=int(last["asr_n"]),
    )  # fmt: skip


def typical_norm(run: Path) -> float:
    """The median norm of the clients' updates in a run: how large a federation's steps are."""
    norms = pq.read_table(run / "clients.parquet", columns=["norm"])["norm"].to_pylist()
    return float(np.median([norm for norm in norms if norm is not None]))


def fit_law(runs: Sequence[Observation]) -> Law:
    """The law that fits the runs' signals best, by least squares of logarithms."""
    heard = [run for run in runs if run.signal > 0]
    dials = np.array([[1.0, math.log(run.affected), math.log(run.rate)] for run in heard])
    offset, spread, depth = np.linalg.lstsq(dials, np.log([run.signal for run in heard]), rcond=None)[0].tolist()
    # Poison that makes no difference, or less the more there is, cannot be planned with.
    return Law(offset, spread, max(depth, 1e-3))


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

    The link tells the signal that it takes, and the law the rate that gives this signal. Neither depends on the number
    of clients: the mean over clients keeps what they share. Intervals are of both together, by a bootstrap over the
    runs. What differs in anything but size (trigger, rounds, model, learning rate) needs a sweep of its own.

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
    drawn = [_rates(runs, [count / clients for count in counts], success, scale)]
    for _ in range(resamples):
        chosen = [runs[place] for place in rng.integers(len(runs), size=len(runs))]
        if len({(run.affected, run.rate) for run in chosen if run.signal > 0}) > 3:
            drawn.append(_rates(chosen, [count / clients for count in counts], success, scale))
    needs = []
    for count, (value, *others) in zip(counts, np.array(drawn).T.tolist(), strict=True):
        low, high = np.quantile(others, [0.025, 0.975]).tolist()
        rate = Rate(value, len(runs), low, high)
        total = [float(count * math.ceil(r * rows)) if r <= 1 else math.nan for r in (value, low, high)]
        drawn_rows = Rate(total[0], len(runs), total[1], total[2])
        needs.append(Need(affected=count, rate=rate, rows=drawn_rows, share=total[0] / (clients * rows)))
    return needs


def _rates(runs: Sequence[Observation], shares: Sequence[float], success: float, scale: float) -> list[float]:
    link, law = link_of(runs), fit_law(runs)
    needed = link.critical.value * (success / (1 - success)) ** (1 / link.slope) / scale
    return [law.rate(share, needed) for share in shares]


def link_of(runs: Sequence[Observation]) -> Link:
    """The link from signal to success, without an interval of its own."""
    hits, trials = (np.array([getattr(run, name) for run in runs]) for name in ("hits", "trials"))
    signals: Float[np.ndarray, "runs"] = np.array([run.signal for run in runs])
    return fit_link(signals, hits, trials, np.random.default_rng(0), resamples=0)
