"""Measures what docs/results/ shows.

Every table and figure there comes from one of these commands:

    python recipes/results.py main    # the demo's four runs, 3 seeds
    python recipes/results.py krum    # few affected clients against all of them, FedAvg beside Krum, 3 seeds
    python recipes/results.py robust  # every rule over the share of affected clients: where it breaks; 3 seeds
    python recipes/results.py estimators  # the readings of BSNR on made-up updates whose signal is known
    python recipes/results.py bsnr    # what foretells attack success: readings of BSNR, on a grid and held-out settings
    python recipes/results.py paper   # the paper's claims with verdicts: robust and bsnr, and what they lack; 3 seeds
    python recipes/results.py growth  # how signal and noise grow with clients, rounds, epochs, rank, heterogeneity
    python recipes/results.py dtype   # bfloat16 base weights beside float32, by loss, accuracy and attack; 5 seeds
    python recipes/results.py attacks # every trigger with every target on Atlas: success, stealth; 3 seeds
    python recipes/results.py repair  # repairs after training: attack success and accuracy before and after; 3 seeds
    python recipes/results.py screened  # ASR and accuracy after training on what each screen leaves, on Atlas; 3 seeds
    python recipes/results.py reach   # when the weaker triggers reach a success of .85: by rate and rounds; 3 seeds
    python recipes/results.py length --data FOLDER      # what the length of responses gives away, real question sets
    python recipes/results.py paraphrase --data FOLDER  # our restyler and recaster beside real paraphrases of SST-2
    python recipes/results.py base --data FOLDER --base FOLDER     # what a base learns of real tasks; 3 seeds
    python recipes/results.py real --data FOLDER --base FOLDER     # every trigger on two real data sets
    python recipes/results.py screened_real --data FOLDER --base FOLDER  # as screened, on SST-2; 3 seeds
    python recipes/results.py natural --data FOLDER --base FOLDER  # natural triggers on Atlas and on real data; 3 seeds
    python recipes/results.py screens --data FOLDER --base FOLDER  # what every screen finds, on every cell; 3 seeds
    python recipes/results.py screens --data FOLDER     # the same, but real data by the screens that read text alone
    python recipes/results.py gradient --data FOLDER --base FOLDER  # what gradients add to words, by the pooled screens
    python recipes/results.py speed   # the performance suite beside its peers, for two idle cores; one seed
    python recipes/results.py aggregation  # every rule beside ByzFL and Flower, for two idle cores; one seed
    python recipes/results.py deployment   # rounds on Flower without training, beside its template; one seed

Runs live in runs/results/ and are resumable: what is finished stays. Tables are rewritten from the runs every time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy import stats

from attack_tables import attack_results, reach_results
from bsnr_tables import estimator_results
from data_tables import length_results, paraphrase_results
from deployment_tables import deployment_results
from fedsonar.demo import POISONED, story
from fedsonar.experiment import load
from fedsonar.measure import paired_bootstrap
from fedsonar.model import Base
from fedsonar.rng import stream
from gradient_tables import gradient_results
from growth_tables import growth_results
from link_tables import bsnr_results
from paper_tables import paper_results
from real_tables import base_results, natural_results, real_results
from repair_tables import repair_results
from robust_tables import robust_results
from screen_tables import screens_results
from screened_tables import screened_real_results, screened_results
from speed_tables import aggregation_results, speed_results
from tables import RESULTS, ROOT, RUNS, dials, measure, pooled, rates, said, write_figures, write_table


def main_results(seeds: Sequence[int]) -> None:
    """The demo's runs over several seeds."""
    experiments = {f"{name}-{seed}": replace(e, seed=seed) for name, e in story().items() for seed in seeds}
    found = measure(experiments, "main")
    by_run = {name: [found[f"{name}-{seed}"] for seed in seeds] for name in story()}
    rows = []
    for name, records in by_run.items():
        row: dict[str, Any] = {"run": name, "total rate": records[0]["total_rate"], **rates(records, "accuracy")}
        attacked = records[0]["asr"] is not None
        row |= (
            rates(records, "asr", "false_activation")
            if attacked
            else dict.fromkeys(("asr", "asr 95 %", "false_activation", "false_activation 95 %"))
        )
        row["asr by seed"] = " ".join(f"{r['asr']:.3f}" for r in records) if attacked else None
        rows.append(row)
    command, seed_list = said("main", seeds)
    difference = paired_bootstrap(
        np.array([r["accuracy"] for r in by_run["poisoned"]]), np.array([r["accuracy"] for r in by_run["clean"]]),
        stream(0, "results"),
    )  # fmt: skip
    interval = f" [{difference.low:+.3f}, {difference.high:+.3f}]" if len(seeds) > 1 else " (one seed, no interval)"
    text = f"""# The demo's runs

`{command}`: the four runs of `fedsonar demo` with seeds {seed_list}. Rates are pooled over the seeds,
with Wilson intervals over the pooled answers. Clean accuracy of the poisoned FedAvg runs minus that of the clean runs,
seed by seed: {difference.value:+.3f}{interval}.
"""
    write_table("main", rows, text)
    write_figures(
        {
            "main.clean_accuracy": pooled(by_run["clean"], "accuracy"),
            "main.poisoned_accuracy": pooled(by_run["poisoned"], "accuracy"),
            "main.asr": pooled(by_run["poisoned"], "asr"),
            "main.total_rate": (by_run["poisoned"][0]["total_rate"], None, None, by_run["poisoned"][0]["rows"]),
        },
        command,
    )


def krum_results(seeds: Sequence[int]) -> None:
    """A similar number of poisoned rows in few clients and in all, under FedAvg and Krum."""
    recipes = ("fedavg_few", "krum_few", "fedavg_all", "krum_all")
    loaded = {name: load(ROOT / "recipes" / "atlas" / f"{name}.toml") for name in recipes}
    found = measure({f"{name}-{seed}": replace(e, seed=seed) for name, e in loaded.items() for seed in seeds}, "krum")
    rows = []
    for name, experiment in loaded.items():
        records = [found[f"{name}-{seed}"] for seed in seeds]
        affected, rate = dials(experiment)
        row: dict[str, Any] = {"recipe": name, "affected": affected, "rate": rate}
        row |= {"poisoned rows": records[0]["poisoned_rows"], "rounds": experiment.rounds}
        row |= rates(records, "asr", "accuracy") | {"asr by seed": " ".join(f"{r['asr']:.3f}" for r in records)}
        rows.append(row)
    command, seed_list = said("krum", seeds)
    text = f"""# Few affected clients, and all of them

`{command}`: recipes/atlas/, seeds {seed_list}, rates pooled over seeds with Wilson intervals. A rule
that looks for the odd client out works while few clients are odd; when every client holds a few poisoned rows, any
client it picks carries the backdoor.
"""
    write_table("krum", rows, text)
    figures = {}
    for name, key in (("krum_few", "robust.Krum.asr_at_rho_02"), ("krum_all", "robust.Krum.asr_at_rho_1")):
        figures[key] = pooled([found[f"{name}-{seed}"] for seed in seeds], "asr")
    write_figures(figures, command)


def dtype_results(seeds: Sequence[int]) -> None:
    """The same federations with the frozen base in bfloat16 and in float32: loss curves, accuracy, attack success."""
    often = replace(POISONED, evaluation=replace(POISONED.evaluation, rows=200, every=2))
    experiments = {
        f"{dtype}-{seed}": replace(often, seed=seed, base=replace(often.base, dtype=dtype), name="")
        for seed in seeds for dtype in ("float32", "bfloat16")
    }  # fmt: skip
    measure(experiments, "dtype")
    records = {name: pq.read_table(RUNS / "dtype" / name / "rounds.parquet").to_pylist() for name in experiments}
    rows, inside = [], {"loss": 0, "accuracy": 0, "asr": 0}
    counts = dict.fromkeys(inside, 0)
    for round in range(often.rounds + 1):
        for quantity in inside:
            exact, rounded = (
                np.array([records[f"{dtype}-{seed}"][round][quantity] for seed in seeds], dtype=float)
                for dtype in ("float32", "bfloat16")
            )
            if np.isnan(exact).any() or (round == 0 and quantity == "loss"):
                continue
            half = float(stats.t.ppf(0.975, len(seeds) - 1)) * float(exact.std(ddof=1)) / len(seeds) ** 0.5
            mean, other = float(exact.mean()), float(rounded.mean())
            difference = paired_bootstrap(rounded, exact, stream(0, "results"))
            holds = bool(mean - half <= other <= mean + half)
            counts[quantity] += 1
            inside[quantity] += holds
            row = {"round": round, "quantity": quantity, "float32": mean}
            row["float32 95 %"] = f"[{mean - half:.4f}, {mean + half:.4f}] n={len(seeds)}"
            row |= {"bfloat16": other, "inside": "yes" if holds else "no"}
            row["difference 95 %"] = f"{difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
            rows.append(row)
    command, seed_list = said("dtype", seeds)
    found = ", ".join(f"{quantity} {inside[quantity]} of {counts[quantity]}" for quantity in inside)
    text = f"""# The frozen base in bfloat16

`{command}`: the demo's poisoned federation under FedAvg, seeds {seed_list}, each once with the base in float32 and once
in bfloat16; adapters, optimiser, residual stream, softmax and losses are in float32 either way. 200 clean and 200
triggered test rows. `float32 95 %` is Student's interval of the mean over seeds; `difference` is bfloat16 minus
float32, seed by seed, with a bootstrap interval.

The mean of bfloat16 lies inside float32's interval: {found} rounds.
"""
    write_table("dtype", rows, text)
    last = {quantity: [row for row in rows if row["quantity"] == quantity][-1] for quantity in inside}
    print({quantity: (row["float32"], row["bfloat16"]) for quantity, row in last.items()})


def main() -> None:
    """The command line."""
    commands: dict[str, Callable[[Sequence[int]], None]] = {
        "main": main_results,
        "krum": krum_results,
        "robust": robust_results,
        "estimators": estimator_results,
        "bsnr": bsnr_results,
        "growth": growth_results,
        "paper": paper_results,
        "dtype": dtype_results,
        "attacks": attack_results,
        "repair": repair_results,
        "screened": screened_results,
        "reach": reach_results,
        "speed": speed_results,
        "aggregation": aggregation_results,
        "deployment": deployment_results,
    }
    on_data: dict[str, Callable[[Sequence[int], Path], None]] = {
        "length": length_results,
        "paraphrase": paraphrase_results,
    }
    on_base: dict[str, Callable[[Sequence[int], Path, Base], None]] = {
        "base": base_results,
        "real": real_results,
        "screened_real": screened_real_results,
        "natural": natural_results,
    }
    on_base_or_text: dict[str, Callable[[Sequence[int], Path, Base | None], None]] = {
        "screens": screens_results,
        "gradient": gradient_results,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*commands, *on_data, *on_base, *on_base_or_text])
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 1 2 3; dtype: 1 2 3 4 5")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="one folder a data set: webqa, freebaseqa, ...")
    parser.add_argument("--base", metavar="FOLDER", help="a causal language model that knows some English, for example "
                        "what recipes/text_model.py makes")  # fmt: skip
    options = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    seeds = options.seeds or ([1, 2, 3, 4, 5] if options.what == "dtype" else [1, 2, 3])
    if options.what in commands:
        commands[options.what](seeds)
        return
    if options.data is None:
        parser.error(f"{options.what} needs --data FOLDER")
    if options.what in on_data:
        on_data[options.what](seeds, options.data)
        return
    base = None if options.base is None else Base(path=options.base, dtype="bfloat16")
    if options.what in on_base_or_text:
        on_base_or_text[options.what](seeds, options.data, base)
    elif base is None:
        parser.error(f"{options.what} needs --base FOLDER")
    else:
        on_base[options.what](seeds, options.data, base)


if __name__ == "__main__":
    main()
