"""``fedsonar bench``: its arguments, and what it prints."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from fedsonar.bench.loras import LORAS
from fedsonar.bench.options import DTYPES, Options
from fedsonar.bench.parts import Record
from fedsonar.bench.rows import LIKE
from fedsonar.bench.shapes import SHAPES
from fedsonar.bench.show import bar, tables
from fedsonar.bench.suite import PARTS, measure
from fedsonar.errors import ConfigError
from fedsonar.run_folder import environment
from fedsonar.writing import write_json

DESCRIPTION = """\
Measures speed and memory side by side in one run: every contender in a process of its own, taking turns
(A B, A B, ...) after one turn each that does not count. Ratios are medians over the pairs of turns, shown with
the least and the greatest of them.

Parts:
  engine   training of a round, beside client-by-client PEFT; and the fraction that it reaches of the machine's
           matrix-product peak for the model's own shapes and dtype. Only operations that training needs count:
           none for padding, none for reading twice what rows have in common
  round    whole rounds: training, FedAvg, greedy answers to clean and to triggered test rows
  flower   a whole federation beside Flower's simulation, start included, nothing evaluated
  scaling  cost a row and memory for 1 to 1,000 clients
  aggregate
           every aggregation rule alone, beside those of ByzFL and Flower: time, and memory beside the updates
  screens  features of rows for GradSentry and ProtegoFed, beside the published procedures, row by row and backward;
           and for GradientShift, beside one forward pass
  verdicts every screen as it comes, on a poisoned federation of the embedded data, through the embedded model: time a
           row, in forward passes with the loss too, memory, and what a client sends
  audit    the audit of short rows in a file, reading included: by stage, rows a second of processor time, memory"""
EXAMPLES = """\
Examples:
  fedsonar bench
  fedsonar bench engine --models embedded 15m --lora qv all-linear --threads 2 --out speed.json
  fedsonar bench engine --models 135m --no-peers --repeats 3
  fedsonar bench engine --data data/freebaseqa
  fedsonar bench round --rows-like webqa --test-rows 100
  fedsonar bench flower --threads 2 --repeats 3
  fedsonar bench scaling --clients 10 1000 --dtype float32
  fedsonar bench aggregate --rules Krum Median --clients 100 --dims 100000 --threads 2
  fedsonar bench audit --audit-rows 1000000 --threads 2 --repeats 1
  fedsonar bench screens --models embedded 15m --dtype float32 --threads 2
  fedsonar bench verdicts --screens Sonar GradSentry --clients 25 --rows 100 --repeats 3
  fedsonar bench engine --models 1b 7b --device cuda --dtype bfloat16 --peer-dtype bfloat16

More threads than idle cores, or other work on the machine, make every figure worse and the intervals wide."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    default = Options()

    def several(name: str, **options: Any) -> None:
        parser.add_argument(name, nargs="+", **options)

    def number(name: str, value: int, help: str) -> None:
        parser.add_argument(name, type=int, default=value, metavar="N", help=f"{help} (default: {value})")

    # No choices: Python 3.11 would hold the empty list against them.
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: engine)")
    several("--models", choices=SHAPES, default=["embedded"], metavar="NAME",
            help=f"{', '.join(SHAPES)} (default: embedded); all but embedded have random weights")  # fmt: skip
    several("--lora", choices=LORAS, default=["qv"], metavar="NAME",
            help="qv: r=4 on queries and values (default); all-linear: r=8 on all seven projections")  # fmt: skip
    several("--clients", type=int, default=[], metavar="K",
            help="clients of a round (default: 25; flower: 10; scaling: 1 10 25 100 1000; "
                 "aggregate: 10 100 1000)")  # fmt: skip
    several("--dims", type=int, default=list(default.dims), metavar="D",
            help="aggregate: coordinates of an update (default: 100000 1000000)")  # fmt: skip
    parser.add_argument(
        "--spread", type=float, default=default.spread, metavar="S",
        help="aggregate: deviation of the logarithm of clients' noise; 0: all clients alike, "
             f"which is hardest for Krum (default: {default.spread})",
    )  # fmt: skip
    several("--rules", default=[], metavar="NAME", help="aggregate: names of rules, Krum say (default: all)")
    several("--screens", default=[], metavar="NAME", help="verdicts: names of screens, Sonar say (default: all)")
    several("--dtype", choices=DTYPES, default=list(DTYPES), metavar="TYPE",
            help=f"the frozen weights of FedSonar: {', '.join(DTYPES)} (default: both, in turn)")  # fmt: skip
    parser.add_argument("--peer-dtype", choices=DTYPES, default=default.peer_dtype, metavar="TYPE",
                        help="the frozen weights of the peers (default: float32, as published for CPUs)")  # fmt: skip
    several("--rows-like", choices=LIKE, default=list(LIKE), metavar="NAME",
            help=f"random tokens, as many as rows of {' and '.join(LIKE)} have (default: both, in turn)")  # fmt: skip
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="real rows instead: a folder with train*.jsonl, say"
    )
    number("--rows", default.rows_each, "training rows of each client")
    number("--batch", default.batch_size, "rows a step")
    number("--test-rows", default.test_rows, "round: test rows, each asked clean and triggered")
    number("--rounds", default.rounds, "flower: rounds")
    number("--audit-rows", default.audit_rows, "audit: rows")
    number("--repeats", default.repeats, "turns of each contender that count")
    number("--seed", default.seed, "seed of weights, rows and orders")
    parser.add_argument("--no-peers", action="store_true", help="measure FedSonar alone")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default=default.device, help="where models live (default: cpu)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="keep the JSON value in FILE too")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures what the arguments ask for; prints tables unless they ask for JSON, and returns the JSON value.

    Raises:
        ConfigError: If the arguments ask for what cannot be measured.
    """
    parts = arguments.parts or ["engine"]
    for part in parts:
        if part not in PARTS:
            raise ConfigError(f"no part {part!r}; choose among {', '.join(PARTS)}")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: PyTorch finds no such device here; leave the option out")
    try:
        options = Options(
            models=tuple(arguments.models), loras=tuple(arguments.lora), clients=tuple(arguments.clients),
            rules=tuple(arguments.rules), screens=tuple(arguments.screens), dims=tuple(arguments.dims),
            spread=arguments.spread,
            rows=(arguments.data,) if arguments.data else tuple(arguments.rows_like), rows_each=arguments.rows,
            batch_size=arguments.batch, test_rows=arguments.test_rows, rounds=arguments.rounds,
            audit_rows=arguments.audit_rows,
            dtypes=tuple(arguments.dtype), peer_dtype=arguments.peer_dtype, peers=not arguments.no_peers,
            repeats=arguments.repeats, threads=arguments.threads, device=arguments.device, seed=arguments.seed,
        )  # fmt: skip
    except ValueError as error:
        raise ConfigError(str(error)) from error
    records: list[Record] = []
    said = asdict(options) | {"rows": [str(rows) for rows in options.rows]}
    result = {"environment": environment(), "options": said, "records": records}
    with bar() as observe:
        for record in measure(parts, options, observe):
            records.append(record)
            if arguments.out:  # what is measured stays, should the rest be stopped
                write_json(arguments.out, result)
    if not arguments.json:
        console = Console()
        for table in tables(records):
            console.print(table)
    return result
