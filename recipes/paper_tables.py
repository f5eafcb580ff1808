"""The claims of the paper that started this, each measured here, with a verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from drawing import Series, draw, heat
from fedsonar.demo import POISONED
from fedsonar.measure import Rate, wilson
from fedsonar.model import Base
from fedsonar.poison import ConstantRate
from link_tables import AFFECTED, FITTED, bsnr_results
from robust_tables import AFFECTED as ROBUST_AFFECTED
from robust_tables import BROKEN, RULES, robust_results
from tables import RESULTS, measure_long, pooled, rates, read_table, said, write_table

RATES = (0.02, 0.04, 0.06, 0.08)
PASSED, INTACT = 0.85, 0.03
CONFIDENCE = 1 - 0.05 / len(RATES)
"""Of each rate's interval, so that all of them hold together in 95 of 100 cases (Bonferroni)."""
_ROUNDS = 24


def paper_results(seeds: Sequence[int]) -> None:
    """All that the claims rest on, and docs/results/paper.md."""
    robust_results(seeds)
    bsnr_results(seeds)
    thin, thin_verdict = _thin_poison(seeds)
    command, _ = said("paper", seeds)
    text = f"""# The paper's claims, measured here

`{command}` measures all of it, on Atlas and the embedded model; what it finds in docs/results/*_runs.csv it
does not run again. The paper is arXiv:2602.15671, whose experiments are of 7 B models: recipes/paper/ has them ready
for who can run them. Only its abstract and readers' notes were at hand, and BSNR is our operational definition.

## Below 10 % of rows, attack success passes 85 % and the main task stays

{thin_verdict}

{_real_data()}

![Attack success by rate](paper-thin.svg)

## Every robust rule fails as more clients are affected

{_rules()}

![Attack success by rule and share of affected clients](paper-rules.svg)

## The measured ratio falls where most clients are affected, and the signal does not

{_readings()}

![Readings by share of affected clients](paper-readings.svg)

## Thin poison, by rate
"""
    write_table("paper", thin, text)


def _thin_poison(seeds: Sequence[int]) -> tuple[list[dict[str, Any]], str]:
    """Few poisoned rows in every client: the table by rate, and the verdict."""
    base = replace(
        POISONED, base=Base(dtype="bfloat16"), rounds=_ROUNDS,
        evaluation=replace(POISONED.evaluation, rows=200, every=_ROUNDS),
    )  # fmt: skip
    assert base.attack is not None
    made = {f"clean-{seed}": replace(base, seed=seed, attack=None, name="") for seed in seeds}
    for rate in RATES:
        attack = replace(base.attack, placement=ConstantRate(rate=rate))
        made |= {f"rate{rate}-{seed}": replace(base, seed=seed, attack=attack, name="") for seed in seeds}
    found = measure_long(made, "paper", ("asr", "asr_n", "accuracy", "accuracy_n"), lambda _: {})
    clean = np.array([found[f"clean-{seed}"]["accuracy"] for seed in seeds])
    rows, passed, points, intervals = [], [], [], []
    for rate in RATES:
        records = [found[f"rate{rate}-{seed}"] for seed in seeds]
        row: dict[str, Any] = {"rate": rate, "poisoned rows": records[0]["poisoned_rows"], "rows": records[0]["rows"]}
        row |= {"total rate": float(np.mean([r["total_rate"] for r in records]))} | rates(records, "asr", "accuracy")
        cost = _t_interval(np.array([r["accuracy"] for r in records]) - clean)
        row["minus clean"] = f"{cost.value:+.3f} [{cost.low:+.3f}, {cost.high:+.3f}]"
        rows.append(row)
        value, low, high, n = pooled(records, "asr")
        points.append((rate, value))
        intervals.append((low, high))
        if wilson(round(value * n), n, CONFIDENCE).low > PASSED:
            passed.append((cost.low > -INTACT, row))
    series = [Series("FedAvg", points, intervals=intervals)]
    draw("paper-thin", "share of every client's rows", "attack success, 95 %", series, logarithmic=False)
    if not passed:
        return rows, f"**Not reproduced**: no rate passes {PASSED:.0%} by its interval."
    intact, least = max(passed, key=lambda found: found[0])  # the first, where all are alike
    verdict = "Holds." if intact else (
        f"Attack success passes {PASSED:.0%}; that accuracy stays within {INTACT:.0%}, {len(seeds)} seeds do not show."
    )  # fmt: skip
    return rows, (
        f"**{verdict}** {least['poisoned rows']} of {least['rows']} rows ({least['total rate']:.1%}), spread over all "
        f"10 clients, give an attack success of {least['asr']:.3f} {least['asr 95 %']}, with accuracy "
        f"{least['minus clean']} against clean runs of the same seeds ({_ROUNDS} rounds of FedAvg). Differences have t "
        f"intervals over {len(seeds)} seeds, of {CONFIDENCE:.2%} each for the {len(RATES)} rates together "
        f"(Bonferroni), and attack success has to pass with as wide a one. In the table, those of rates are of 95 %."
    )


def _t_interval(differences: np.ndarray) -> Rate:
    """The mean of a few differences, with Student's interval of `CONFIDENCE`."""
    from scipy import stats

    n, mean = len(differences), float(differences.mean())
    if n < 2:
        return Rate(mean, n, -np.inf, np.inf)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * differences.std(ddof=1) / np.sqrt(n))
    return Rate(mean, n, mean - half, mean + half)


def _real_data() -> str:
    """What natural.csv says of real data."""
    rows = [row for row in read_table(RESULTS / "natural.csv") if row["base"] != "embedded"]
    passed = [row for row in rows if row["asr"] > PASSED and row["total rate"] < 0.1]
    listed = ", ".join(f"{row['case']} {row['asr']:.2f} at {row['total rate']:.1%}" for row in passed)
    return (
        f"On real data, with natural triggers, nothing written into any input, and a small model trained on text: "
        f"{len(passed)} of {len(rows)} cases pass {PASSED:.0%} ({listed}; [natural.md](natural.md))."
    )


def _rules() -> str:
    """What robust.csv says of every rule."""
    rows = read_table(RESULTS / "robust.csv")
    said_of = []
    for fixed, words in (("total", "8 % of all rows, in ever more clients"), ("local", "10 % of an affected client's")):
        last = {row["rule"]: row for row in rows if row["fixed"] == fixed and row["affected"] == max(ROBUST_AFFECTED)}
        broken = [rule for rule, row in last.items() if _low(row["asr 95 %"]) > BROKEN]
        held = [f"{rule} ({row['asr']:.2f}, accuracy {row['accuracy']:.2f})" for rule, row in last.items()
                if rule not in broken]  # fmt: skip
        said_of.append(
            f"- {words}: with all clients affected {len(broken)} of {len(last)} rules are broken (interval of attack "
            f"success above {BROKEN}). Not so: {', '.join(held) or 'none'}."
        )
    values = {
        (rule, affected): next(
            row["asr"] for row in rows
            if row["fixed"] == "total" and row["rule"] == rule and row["affected"] == affected
        )
        for rule in RULES for affected in ROBUST_AFFECTED
    }  # fmt: skip
    heat("paper-rules", list(RULES), ROBUST_AFFECTED, values, "share of affected clients", "attack success")
    return "\n".join(said_of) + "\n\n[robust.md](robust.md) has every share, interval and accuracy."


def _readings() -> str:
    """What bsnr_runs.csv says of the plain ratio and the twins' signal, at the same rate in ever more clients."""
    runs = [run for run in read_table(RESULTS / "bsnr_runs.csv") if str(run["run"]).startswith("rho")]
    by_share: dict[str, dict[float, list[float]]] = {name: defaultdict(list) for name in ("plain S/N", "twin S")}
    for run in runs:
        share = float(str(run["run"]).partition("-")[0].removeprefix("rho"))
        for name, found in by_share.items():
            if share and run[name] is not None:
                found[share].append(run[name])
    means = {name: {share: float(np.mean(v)) for share, v in sorted(f.items())} for name, f in by_share.items()}
    draw(
        "paper-readings", "share of affected clients", "mean over rates and seeds, of its greatest",
        [Series(name, [(share, value / max(m.values())) for share, value in m.items()]) for name, m in means.items()],
        logarithmic=False,
    )  # fmt: skip
    verdicts = []
    for name, mean in means.items():
        shares = list(mean)
        values = [mean[share] for share in shares]
        peak = shares[int(np.argmax(values))]
        falls = f"greatest at {peak:g} and {1 - values[-1] / max(values):.0%} lower at {shares[-1]:g}"
        rises = f"rises all the way to {shares[-1]:g}"
        verdicts.append(f"- {name}: {rises if peak == shares[-1] else falls} ({_series(mean)}).")
    unread = "" if max(AFFECTED) in means["plain S/N"] else " With all clients affected it cannot be read at all."
    return "\n".join(verdicts) + f"\n\nThe plain ratio needs clean clients to compare with.{unread} Setting: {FITTED}."


def _low(cell: str) -> float:
    return float(cell.partition("[")[2].partition(",")[0])


def _series(mean: Mapping[float, float]) -> str:
    return ", ".join(f"{value:.3g} at {share:g}" for share, value in mean.items())
