"""How fast training and aggregation are, beside their peers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from fedsonar.bench import suite
from fedsonar.bench.aggregation import OURS
from fedsonar.bench.aggregation_rules import rules
from fedsonar.bench.options import Options
from fedsonar.bench.show import bar
from tables import RUNS, said, write_figures, write_table


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
    records = [
        record for clients, dim in product((10, 100, 1000), options.dims)
        for record in _aggregated(replace(options, clients=(clients,), dims=(dim,)))
    ]  # fmt: skip
    rows, figures = [], {}
    for ours in (record for record in records if record["side"] == OURS):
        contest = {key: ours[key] for key in ("rule", "clients", "dim")}
        row: dict[str, Any] = contest | {"seconds": ours.get("seconds"), "times input": ours.get("extra_memory")}
        row |= dict.fromkeys(("ByzFL numpy", "ByzFL torch", "Flower"))
        for peer in records:
            if peer is not ours and contest.items() <= peer.items():
                row[peer["side"]] = peer.get("seconds", peer.get("left_out"))
        row |= {"times peer": ours.get("times_peer")}
        row["least to greatest"] = f"[{ours['low']:.2f}, {ours['high']:.2f}] n={ours['n']}" if "low" in ours else ""
        rows.append(row | {"left out": ours.get("left_out", "")})
        if ours["rule"] in ("Krum", "MultiKrum") and "times_peer" in ours:
            name = f"aggregate.{ours['rule'].lower()}_vs_peers_{ours['clients']}x{ours['dim']}"
            figures[name] = (ours["times_peer"], ours["low"], ours["high"], ours["n"])
    compared = [row for row in rows if row["times peer"] is not None]
    slower = [
        f"{row['rule']} at {row['clients']} x {row['dim']:,} ({row['times peer']:.2f})"
        for row in compared if row["times peer"] < 1
    ]  # fmt: skip
    command, _ = said("aggregation", seeds[:1])
    text = f"""# Aggregation, beside ByzFL and Flower

`{command}`, with ByzFL 0.0.11 and Flower 1.41: `fedsonar bench aggregate` with {options.threads} threads for every
contender. Each aggregates the same float32 updates in a process of its own, in turns; `seconds` is our median, `times
peer` the median of the ratios of the fastest peer's turns to ours beside them, with the least and the greatest.
n is the number of pairs: fewer where turns take minutes. `times input` is the greatest memory beyond the updates, as a
multiple of them. A peer's cell says why it was not measured, where it was not; an empty one has no such rule.

Slower than the fastest peer in {len(slower)} of {len(compared)} comparisons. {", ".join(slower)}
"""
    write_table("aggregation", rows, text)
    write_figures(figures, command)


def _aggregated(options: Options) -> list[dict[str, Any]]:
    """The records of every rule in one situation; rules that were measured before are read from runs/results/."""
    [clients], [dim] = options.clients, options.dims
    path = RUNS / "aggregation" / f"{clients}x{dim}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    # Ours is the last side of a rule, so a rule that was stopped between its sides is measured again.
    done = {record["rule"] for record in records if record["side"] == OURS}
    records = [record for record in records if record["rule"] in done]
    missing = tuple(rule for rule in rules(clients) if rule not in done)
    if not missing:
        return records
    repeats = 5 if clients * dim <= 10**8 else 1
    with bar() as observe, path.open("w") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
        for record in suite.measure(["aggregate"], replace(options, rules=missing, repeats=repeats), observe):
            records.append(record)
            file.write(json.dumps(record) + "\n")
            file.flush()
    return records
