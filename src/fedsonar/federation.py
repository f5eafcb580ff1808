"""The round loop: clients train, the server aggregates, the result is examined and measured. Read this first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedsonar import run_folder
from fedsonar.engine import ROOT, ClientJob, Engine
from fedsonar.experiment import Experiment
from fedsonar.gauge import Gauge
from fedsonar.measure import Examination, Rate
from fedsonar.model import initial_adapter
from fedsonar.preparation import Federation, Loaded
from fedsonar.records import ClientRecord, RoundRecord, Run, Update
from fedsonar.repairing import Treated, treat
from fedsonar.rng import torch_stream
from fedsonar.screening import Screening
from fedsonar.server import Aggregated, Server
from fedsonar.writing import plain


@dataclass(frozen=True)
class Progress:
    """What an observer of a run is told.

    Args:
        stage: What was just done: ``begin``, ``load``, ``screen``, ``train``, ``examine``, ``round``, ``repair``.
        round: The round it belongs to.
        record: The round's record, with stage ``round``.
    """

    stage: str
    round: int = 0
    record: RoundRecord | None = None


def run(
    experiment: Experiment,
    engine: Engine | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    observe: Callable[[Progress], object] = lambda _: None,
    loaded: Loaded | None = None,
    federation: Federation | None = None,
    screening: Callable[[Federation, Run], Screening] = Screening,
) -> Run:
    """Runs a federation and returns its history; with `out`, everything is kept on disk after every round.

    Args:
        experiment: What to run.
        engine: Who trains the clients; the fused engine by default.
        out: Folder of the run; must not hold another one.
        resume: Go on from the newest complete round in `out`.
        observe: Told after every stage.
        loaded: Data and base model, for several runs of one process that share them.
        federation: The experiment prepared before, by whoever has use for it too.
        screening: Who has rows judged; here by default.

    Raises:
        TypeError: If it is no experiment.
        ConfigError: If the experiment's parts do not fit together, or `out` holds another run.
        ValueError: If the data cannot be used, or a round cannot be aggregated.
        FloatingPointError: If a loss is no longer finite; names client and round.
    """
    started = time.perf_counter()
    if not isinstance(experiment, Experiment):
        raise TypeError(f"run takes an Experiment, got {experiment!r}; fedsonar.experiment.load reads one from a file")
    out = None if out is None else Path(out)
    if out is not None:
        run_folder.check(out, experiment, resume=resume)
    federation = federation or Federation(experiment, loaded)
    if out is not None:  # what cannot begin leaves no folder
        run_folder.claim(out, experiment, resume=resume)
    observe(Progress("load"))
    state = (run_folder.read(out) if out is not None and resume else None) or _before_tuning(federation)
    state.folder = out
    judges = screening(federation, state)
    server = Server(experiment, federation.layout, state.rule_state)
    gauge = Gauge(experiment.bsnr, federation.layout, experiment.seed, state)
    clock = run_folder.Clock()
    engine = engine or federation.engine
    examination: Examination | None = None
    for round in range(len(state.rounds), experiment.rounds + 1):
        start = state.adapter
        with clock("screen"):
            if judges.before(round, start):
                observe(Progress("screen", round))
        with clock("train"):
            rows = {client: judges.kept(client, federation.rows[client]) for client in federation.participants(round)}
            # A server that knows no rows asks everybody.
            clients = [client for client in rows if rows[client] or not federation.rows[client]]
            if not clients:
                raise ValueError(
                    f"the screen leaves no row to the {len(rows)} clients of round {round}; raise its threshold"
                )
            jobs = [ClientJob(client, round, rows[client], start) for client in clients]
            poisoned = {client: judges.poisoned_left(client) for client in clients}
            twins = [client for client in clients if client in federation.twins and poisoned[client]]
            jobs += [ClientJob(client, round, judges.kept(client, federation.twins[client]), start) for client in twins]
            if federation.root:
                jobs.append(ClientJob(ROOT, round, federation.root, start))
            trained = engine.train_round(jobs)
            root = trained.pop() if federation.root else None
            updates, without_poison = trained[: len(clients)], dict(zip(twins, trained[len(clients) :], strict=True))
        observe(Progress("train", round))
        with clock("aggregate"):
            done = server.aggregate(round, start, updates, root)
            state.adapter = start + done.step
        counts = [poisoned[update.client] for update in done.kept]
        affected = None if None in counts else np.array(counts) > 0
        with clock("measure"):
            counterfactual = [without_poison[u.client] for u in done.kept if u.client in without_poison]
            bsnr = gauge.read(round, start, done.kept, done.weights.numpy(), affected, counterfactual)
        with clock("examine"):
            due = round % experiment.evaluation.every == 0 or round == experiment.rounds
            examination = federation.examiner.examine(state.adapter, hits_before(state)) if due else None
        observe(Progress("examine", round))
        loss = float(np.average([u.loss for u in done.kept], weights=done.weights.numpy()))
        state.rounds.append(
            RoundRecord(
                round=round, loss=loss, update_norm=done.length, rank_loss=done.lost, **scores(examination), **bsnr
            )
        )
        state.clients += _client_records(round, done, poisoned)
        clock.count_rows(sum(update.num_rows * experiment.training.epochs for update in trained))
        state.summary = run_folder.summarize(federation, state, judges)
        if out is not None:
            run_folder.keep(out, state)
        observe(Progress("round", round, state.rounds[-1]))
    state.summary = run_folder.summarize(federation, state, judges)
    treated: Treated | None = None
    if experiment.repair is not None:
        with clock("repair"):
            treated = treat(federation, state.adapter, hits_before(state))
        state.summary["repair"] = plain(treated.summary())
        observe(Progress("repair", experiment.rounds))
    if out is not None:
        if examination is None and not (out / "examples.json").is_file():  # stopped after the last round was kept
            examination = federation.examiner.examine(state.adapter, hits_before(state))
        timing = clock.timing(time.perf_counter() - started)
        run_folder.finish(out, state, federation, judges, examination, treated, timing)
    return state


def _before_tuning(federation: Federation) -> Run:
    """Round 0: a fresh adapter, which changes nothing yet, examined."""
    adapter = initial_adapter(federation.layout, torch_stream(federation.experiment.seed, "adapter"))
    examination = federation.examiner.examine(adapter)
    state = Run(adapter, [RoundRecord(round=0, **scores(examination))])
    if federation.experiment.attack is not None:
        state.tensors["hits_before"] = torch.from_numpy(federation.examiner.hits(examination.attacked_outputs))
    return state


def hits_before(state: Run) -> np.ndarray | None:
    """Which triggered rows the model hit before any tuning; None without an attack."""
    hits = state.tensors.get("hits_before")
    return None if hits is None else np.asarray(hits.numpy())


def scores(examination: Examination | None) -> dict[str, Any]:
    """The columns of a round's record that an examination fills."""
    if examination is None:
        return {}
    attack = examination.attack
    rates: dict[str, Rate | None] = {"accuracy": examination.accuracy}
    if attack is not None:
        rates |= {"asr": attack.success, "false_activation": attack.false_activation}
        rates |= {"near_miss": attack.near_miss, "asr_judged": attack.judged}
    columns: dict[str, Any] = {}
    for name, rate in rates.items():
        if rate is not None:
            columns |= {name: rate.value, f"{name}_low": rate.low, f"{name}_high": rate.high, f"{name}_n": rate.n}
    if attack is not None:
        columns |= {"asr_new": attack.success_new.value, "asr_new_n": attack.success_new.n}
    answers = examination.answers
    columns |= {"emr": answers.entity_rate().value, "kmr": float(answers.recall.mean()), "f1": float(answers.f1.mean())}
    return columns | {"exact_match": answers.exact_rate().value, "label_accuracy": answers.label_rate().value}


def _client_records(round: int, done: Aggregated, poisoned: Mapping[int, int | None]) -> Iterator[ClientRecord]:
    """A record of every client of the round, refused ones at the end."""

    def record(update: Update, **outcome: Any) -> ClientRecord:
        return ClientRecord(
            round=round, client=update.client, rows=update.num_rows, poisoned_rows=poisoned[update.client],
            steps=update.num_steps, loss=update.loss, **outcome,
        )  # fmt: skip

    nobody = [None] * len(done.kept)
    for update, norm, weight, share in zip(
        done.kept, done.lengths, done.weights.tolist(), done.shares or nobody, strict=True
    ):
        yield record(update, norm=norm, weight=weight, share=share)
    for update, reason in done.refused:
        yield record(update, norm=None, weight=0.0, share=None, refused=reason)
