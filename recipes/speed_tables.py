"""How fast training and aggregation are, beside their peers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from fedsonar.bench import suite
from fedsonar.bench.aggregation import OURS
from fedsonar.bench.aggregation_rules import rules
from fedsonar.bench.options import Options
from fedsonar.bench.show import bar
from tables import RESULTS, read_table, said, write_csv, write_figures, write_table

_MEASURED = "aggregation_runs.csv"
_KEPT = (
    "rule", "clients", "dim", "side", "seconds", "extra_memory", "times_peer", "low", "high", "n", "times_byzfl",
    "byzfl_low", "byzfl_high", "left_out",
)  # fmt: skip


_BRIEF = 1e7
"""Values of which a mean takes a few tenths of a millisecond, or a few: so short a turn hangs on where the system puts
its threads, and many are needed."""


def speed_results(seeds: Sequence[int]) -> None:
    """Training, whole rounds and whole federations beside the peers; the machine's peak; many clients."""
    options = Options(models=("embedded", "15m"), loras=("qv", "all-linear"), threads=2, seed=seeds[0])
    small = replace(options, models=("embedded",), loras=("qv",))
    alone = replace(options, models=("135m",), peers=False, repeats=3)
    with bar() as observe:
        records = [*suite.measure(["engine"], options, observe), *suite.measure(["round", "flower"], small, observe)]
        records += suite.measure(["engine"], alone, observe)
        records += suite.measure(["scaling"], replace(small, rows=("freebaseqa",), repeats=3), observe)
    rows = []
    for record in records:
        row = {key: record[key] for key in ("part", "model", "lora", "rows", "clients", "side", "seconds")}
        row |= {"rows/s": record.get("rows_per_second"), "of peak": record.get("fraction_of_peak")}
        row |= {"MB": record["peak_mb"], "times peer": record.get("times_peer")}
        row |= {"cost a row": record.get("times_cost_per_row"), "MB of peer": record.get("memory_of_peer")}
        row["least to greatest"] = (
            f"[{record['low']:.3f}, {record['high']:.3f}] n={record['n']}" if "low" in record else ""
        )
        rows.append(row)
    command, _ = said("speed", seeds[:1])
    text = f"""# Speed and memory

`{command}`: `fedsonar bench` with {options.threads} threads for every contender and {options.rows_each} rows a client,
random tokens as long as rows of FreebaseQA and WebQA. Contenders take turns; `times peer` is the median of the ratios
of neighbouring turns, with the least and the greatest. The peer of `engine` and `round` is client-by-client PEFT, that
of `flower` is Flower's simulation with its start, both in fp32. `of peak` is the share of the matrix-product peak
measured between the turns for the same shapes and dtype, from the operations that training needs, none for padding or
for reading again what rows share. `cost a row` is against 10 clients.
"""
    write_table("speed", rows, text)
    figures = {}
    for model in options.models:
        here = [r for r in records if r["part"] == "engine" and (r["model"], r["lora"]) == (model, "qv")]
        figures[f"speed.same_dtype_{model}"] = slower_rows([r for r in here if r["side"] == "FedSonar float32"])
        figures[f"speed.vs_peft_{model}"] = slower_rows(here)
    figures["speed.round_vs_peft"] = slower_rows([r for r in records if r["part"] == "round"])
    if beside_flower := [r for r in records if r["part"] == "flower"]:
        figures["speed.vs_flower"] = slower_rows(beside_flower)
        most = max((r for r in beside_flower if "memory_of_peer" in r), key=lambda r: r["memory_of_peer"])
        figures["speed.memory_vs_flower"] = (most["memory_of_peer"], most["memory_low"], most["memory_high"], most["n"])
    write_figures(figures, command)


def slower_rows(records: Sequence[dict[str, Any]]) -> tuple[float, float, float, int]:
    """Times as fast as the peer: FedSonar at its best dtype, on those of the row sets where it gains less."""
    best: dict[str, dict[str, Any]] = {}
    for record in (record for record in records if "times_peer" in record):
        known = best.setdefault(record["rows"], record)
        if record["times_peer"] > known["times_peer"]:
            best[record["rows"]] = record
    least = min(best.values(), key=lambda record: record["times_peer"])
    return least["times_peer"], least["low"], least["high"], least["n"]


def aggregation_results(seeds: Sequence[int]) -> None:
    """Every rule beside ByzFL and Flower: time, and memory beyond the updates."""
    options = Options(threads=2, seed=seeds[0])
    path = RESULTS / _MEASURED
    records = read_table(path) if path.exists() else []
    for clients, dim in product((10, 100, 1000), options.dims):
        _aggregated(replace(options, clients=(clients,), dims=(dim,)), records)
    peers = sorted({record["side"] for record in records} - {OURS})
    rows, figures = [], {}
    for ours in (record for record in records if record["side"] == OURS):
        contest = {key: ours[key] for key in ("rule", "clients", "dim")}
        row: dict[str, Any] = contest | {"seconds": ours["seconds"], "times input": ours["extra_memory"]}
        row |= dict.fromkeys(peers)
        for peer in records:
            if peer is not ours and contest.items() <= peer.items():
                row[peer["side"]] = peer["left_out"] if peer["seconds"] is None else peer["seconds"]
        compared_here = ours["times_peer"] is not None
        row |= {"times peer": ours["times_peer"], "least to greatest": ""}
        if compared_here:
            row["least to greatest"] = f"[{ours['low']:.2f}, {ours['high']:.2f}] n={ours['n']}"
        row["times ByzFL"] = ours["times_byzfl"]
        rows.append(row | {"left out": ours["left_out"]})
        if ours["rule"] in ("Krum", "MultiKrum") and ours["times_byzfl"] is not None:
            name = f"aggregate.{ours['rule'].lower()}_vs_byzfl_{ours['clients']}x1e{math.log10(ours['dim']):.0f}"
            figures[name] = (ours["times_byzfl"], ours["byzfl_low"], ours["byzfl_high"], ours["n"])
    compared = [row for row in rows if row["times peer"] is not None]
    slower = [
        f"{row['rule']} at {row['clients']} x {row['dim']:,} ({row['times peer']:.2f})"
        for row in compared if row["times peer"] < 1
    ]  # fmt: skip
    command, _ = said("aggregation", seeds[:1])
    text = f"""# Aggregation, beside ByzFL and Flower

`{command}`, with ByzFL 0.0.11 and Flower 1.41: `fedsonar bench aggregate` with {options.threads} threads for every
contender; what stands in [{_MEASURED}]({_MEASURED}) is not measured again. Each aggregates the same float32
updates in a process of its own, in turns; `seconds` is our median, `times peer` the median of the ratios of the fastest
peer's turns to ours beside them, with the least and the greatest. n is the number of pairs: fewer where turns take
minutes. `times ByzFL` is against the faster of ByzFL's two variants alone, `times input` the greatest memory beyond the
updates, as a multiple of them. A peer's cell says why it was not measured, where it was not; an empty one has no such
rule.

Slower than the fastest peer in {len(slower)} of {len(compared)} comparisons{": " if slower else "."}{", ".join(slower)}
"""
    write_table("aggregation", rows, text)
    write_figures(figures, command)


def _aggregated(options: Options, known: list[dict[str, Any]]) -> None:
    """Adds what was not measured yet in one situation; keeps every rule as soon as it is measured."""
    [clients], [dim] = options.clients, options.dims
    # Ours is the last side of a rule, so one that was stopped between its sides is measured again.
    done = {
        record["rule"] for record in known if (record["clients"], record["dim"], record["side"]) == (clients, dim, OURS)
    }
    missing = [rule for rule in rules(clients) if rule not in done]
    repeats = 5 if clients < 1000 else 3 if dim < 1_000_000 else 1
    briefly = [rule for rule in missing if rule == "FedAvg" and clients * dim <= _BRIEF]
    for rules_here, turns in ((briefly, 101), ([rule for rule in missing if rule not in briefly], repeats)):
        if rules_here:
            _measured(replace(options, rules=tuple(rules_here), repeats=turns), known)


def _measured(options: Options, known: list[dict[str, Any]]) -> None:
    """Adds some rules in one situation."""
    waiting: list[dict[str, Any]] = []
    with bar() as observe:
        for record in suite.measure(["aggregate"], options, observe):
            waiting.append({column: record.get(column) for column in _KEPT})
            if record["side"] == OURS:
                known += waiting
                waiting.clear()
                write_csv(RESULTS / _MEASURED, known)
