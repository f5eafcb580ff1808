"""The part ``verdicts``: what each screen's verdict on a federation costs, all that it needs of the model included."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from fedsonar.bench.contest import Prepare
from fedsonar.bench.options import Options
from fedsonar.bench.parts import Contest, Record, Results
from fedsonar.bench.screens import FORWARD, cost, in_passes
from fedsonar.bench.verdict_screens import SCREENS
from fedsonar.data import IID, Atlas
from fedsonar.experiment import Experiment
from fedsonar.poison import Attack, ConstantRate
from fedsonar.preparation import Federation
from fedsonar.records import Run
from fedsonar.screen import Features, Screen
from fedsonar.screening import Screening


def verdicts(options: Options) -> Iterator[Contest]:
    """Every screen as it comes, on a poisoned federation of Atlas, beside one pass of its rows through the model."""
    for clients in options.clients or (25,):
        for name in sorted(options.screens or SCREENS):
            sides: dict[str, Prepare[Any]] = {name: partial(_verdict, name, clients, options)}
            if options.peers:
                sides[FORWARD] = partial(_forward, clients, options)
            yield Contest(f"verdicts, {clients} clients, {name}", sides, options, partial(_records, clients, options))


def _records(clients: int, options: Options, measured: Results) -> list[Record]:
    name, found = next(iter(measured.items()))
    record: Record = {"part": "verdicts", "rows": "atlas", "clients": clients, "screen": name, "side": "FedSonar"}
    record |= cost(found, clients * options.rows_each) | {"bytes_per_client": found.results[-1]}
    return [record | (in_passes(found, measured[FORWARD]) if FORWARD in measured else {})]


def _federation(clients: int, options: Options, screen: Screen | None = None) -> Federation:
    return Federation(
        Experiment(
            data=Atlas(train=clients * options.rows_each, test=1, seed=options.seed), partition=IID(clients=clients),
            attack=Attack(placement=ConstantRate(rate=0.1)), screen=screen, seed=options.seed,
        )
    )  # fmt: skip


def _verdict(name: str, clients: int, options: Options) -> Callable[[], int]:
    federation = _federation(clients, options, SCREENS[name]())

    def measure() -> int:
        """What a client sends, in bytes."""
        state = Run(torch.zeros(federation.layout.dim))
        Screening(federation, state).before(1, state.adapter)
        return sum(record.bytes for record in state.sent) // clients

    return measure


def _forward(clients: int, options: Options) -> Callable[[], Float[np.ndarray, "rows"]]:
    """Each row's loss, client by client, of which output scores are made at response tokens alone."""
    federation = _federation(clients, options)
    return lambda: np.concatenate([Features(federation.network, rows).losses for rows in federation.rows])
