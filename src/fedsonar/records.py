"""What a run leaves behind: updates, the records of rounds and clients, and their form on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from fedsonar.writing import plain, write_whole


@dataclass(frozen=True, slots=True)
class Update:
    """One client's result of one round.

    Args:
        client: The client's number.
        num_rows: Rows trained on; aggregation weights follow from it.
        num_steps: Optimiser steps taken.
        loss: Mean training loss over the steps, in nats a response token.
        delta: Flattened adapter after training minus the one it started from; empty where there is none.
        missing: Why there is none: a client that did not answer, or not in a form that can be read.
    """

    client: int
    num_rows: int
    num_steps: int
    loss: float
    delta: Float[Tensor, "dim"]
    missing: str = ""

    @classmethod
    def none(cls, client: int, why: str) -> Update:
        """What stands for an update that did not come."""
        return cls(client, 0, 0, math.nan, torch.empty(0), why)


@dataclass(frozen=True, kw_only=True)
class ClientRecord:
    """One client in one round: a row of ``clients.parquet``.

    Args:
        round: The round's number.
        client: The client's number.
        rows: Rows trained on.
        poisoned_rows: How many of them are poisoned, from the ledger; None where nobody knows.
        steps: Optimiser steps.
        loss: Mean training loss, in nats a response token.
        norm: L2 norm of the update in the experiment's space; None where it was refused.
        weight: Aggregation weight offered to the rule.
        share: How much the rule counted the client; None for rules that treat coordinates apart.
        refused: Why the update was kept from the rule; empty where it was not.
    """

    round: int
    client: int
    rows: int
    poisoned_rows: int | None
    steps: int
    loss: float
    norm: float | None
    weight: float
    share: float | None
    refused: str = ""


@dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """The global model after one round: a row of ``rounds.parquet``. Round 0 is before any tuning.

    Rates come with the ends of their 95 % interval and the number of rows; None means not measured in this round.
    `near_miss` is the target's rate on parts of the trigger, `asr_judged` the success rate by a judge of meaning.
    `update_norm` is that of the rule's result in the experiment's space, `rank_loss` the share of it that rank r could
    not hold. `bsnr_*` are readings of the backdoor signal-to-noise ratio: signals without their noise, in the units of
    an update's norm, and ratios, which are signed amplitudes. The blind one is the largest eigenvalue over the edge of
    noise, which noise of one size in all clients exceeds `bsnr_blind_limit` times in about 1 round of 20; the limit can
    be below 1. `bsnr_note` says why the cross-fitted one is missing, or that its group is a placebo.
    """

    round: int
    loss: float | None = None
    update_norm: float | None = None
    rank_loss: float | None = None
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    accuracy_n: int | None = None
    emr: float | None = None
    kmr: float | None = None
    exact_match: float | None = None
    f1: float | None = None
    label_accuracy: float | None = None
    asr: float | None = None
    asr_low: float | None = None
    asr_high: float | None = None
    asr_n: int | None = None
    asr_new: float | None = None
    asr_new_n: int | None = None
    false_activation: float | None = None
    false_activation_low: float | None = None
    false_activation_high: float | None = None
    false_activation_n: int | None = None
    near_miss: float | None = None
    near_miss_low: float | None = None
    near_miss_high: float | None = None
    near_miss_n: int | None = None
    asr_judged: float | None = None
    asr_judged_low: float | None = None
    asr_judged_high: float | None = None
    asr_judged_n: int | None = None
    bsnr_plain_db: float | None = None
    bsnr_plain_cumulative_db: float | None = None
    bsnr_crossfit_db: float | None = None
    bsnr_crossfit_signal: float | None = None
    bsnr_crossfit_ratio: float | None = None
    bsnr_crossfit_low: float | None = None
    bsnr_crossfit_high: float | None = None
    bsnr_crossfit_cumulative_db: float | None = None
    bsnr_crossfit_cumulative_signal: float | None = None
    bsnr_crossfit_cumulative_ratio: float | None = None
    bsnr_crossfit_cumulative_low: float | None = None
    bsnr_crossfit_cumulative_high: float | None = None
    bsnr_twin_db: float | None = None
    bsnr_twin_signal: float | None = None
    bsnr_twin_ratio: float | None = None
    bsnr_twin_low: float | None = None
    bsnr_twin_high: float | None = None
    bsnr_twin_cumulative_db: float | None = None
    bsnr_twin_cumulative_signal: float | None = None
    bsnr_twin_cumulative_ratio: float | None = None
    bsnr_twin_cumulative_low: float | None = None
    bsnr_twin_cumulative_high: float | None = None
    bsnr_summed_db: float | None = None
    bsnr_summed_signal: float | None = None
    bsnr_summed_ratio: float | None = None
    bsnr_summed_low: float | None = None
    bsnr_summed_high: float | None = None
    bsnr_blind_ratio: float | None = None
    bsnr_blind_limit: float | None = None
    bsnr_note: str = ""


@dataclass(frozen=True, kw_only=True)
class SignalRecord:
    """One reading of the backdoor's signal: a row of ``bsnr.parquet``.

    Args:
        round: The round's number.
        estimator: ``plain``, ``crossfit``, ``twin``, or ``summed``: ``twin`` of what clients sent in all rounds so far,
            added up before it is read.
        space: What an update was taken for: its effective change of the weights (``product``), or its ``factors``.
        part: ``all`` of the adapter, a ``layer`` with its number, or a kind of module.
        signal: Signed signal S of the round; None where it could not be read.
        noise: Noise N of the round.
        ratio: S / N, a signed amplitude; `low` and `high` are the ends of its 95 % interval.
        cumulative_signal: Sum of S over the rounds so far; the other `cumulative_*` are to it as above.
        reason: Why something is None; empty when nothing is.
    """

    round: int
    estimator: str
    space: str
    part: str
    signal: float | None
    noise: float | None
    ratio: float | None
    low: float | None
    high: float | None
    cumulative_signal: float | None
    cumulative_noise: float | None
    cumulative_ratio: float | None
    cumulative_low: float | None
    cumulative_high: float | None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class SentRecord:
    """One table of numbers that left a client for a screen: a row of ``screen.parquet``.

    Args:
        round: The round before which rows were judged.
        client: The client's number.
        step: Number of the screen's pass over the clients, from 1.
        name: What the table holds.
        dtype: Type of its numbers.
        shape: Its lengths, with an x between them.
        bytes: Its size.
        additive: Whether the server needs only the sum over clients, so that sums can be secured.
        epsilon: The differential privacy of all that is told in a round, None where none is promised.
    """

    round: int
    client: int
    step: int
    name: str
    dtype: str
    shape: str
    bytes: int
    additive: bool
    epsilon: float | None = None


@dataclass
class Run:
    """A federation's state and history; what a checkpoint holds.

    Args:
        adapter: The global adapter, flat.
        rounds: Records of rounds so far, round 0 first.
        clients: Records of clients in all rounds so far.
        signals: Readings of the backdoor's signal in all rounds so far.
        sent: What left clients for a screen in all rounds so far.
        rule_state: What the aggregation rule carries between rounds.
        tensors: Other tensors that later rounds need, by name.
        folder: Where the run lives on disk; None when it is kept in memory.
    """

    adapter: Float[Tensor, "dim"]
    rounds: list[RoundRecord] = field(default_factory=list)
    clients: list[ClientRecord] = field(default_factory=list)
    signals: list[SignalRecord] = field(default_factory=list)
    sent: list[SentRecord] = field(default_factory=list)
    rule_state: dict[str, Tensor] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None


Rows = list[dict[str, Any]]

_ARROW = {"int": pa.int64(), "float": pa.float64(), "str": pa.string(), "bool": pa.bool_()}


def plain_rows(records: Sequence[Any]) -> Rows:
    """Records in JSON's terms: nan becomes None."""
    return [plain(vars(record)) for record in records]


def history(run: Run) -> dict[str, Rows]:
    """A run's records in JSON's terms, as its checkpoint and its tables hold them."""
    return {name: plain_rows(getattr(run, name)) for name in ("rounds", "clients", "signals", "sent")}


def write_table(path: Path, kind: type, rows: Rows) -> None:
    """Writes records of a dataclass, in JSON's terms, as Parquet: one column a field."""
    schema = pa.schema([(f.name, _ARROW[str(f.type).split(" ")[0]]) for f in fields(kind)])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: [row[name] for row in rows] for name in schema.names}, schema), sink)
    write_whole(path, sink.getvalue().to_pybytes())


def write_checkpoint(folder: Path, run: Run, history: Mapping[str, Rows]) -> None:
    """Writes everything that the next round needs into one file, so that it is complete whenever it is there."""
    tensors = {"adapter": run.adapter}
    tensors |= {f"rule.{name}": tensor.contiguous() for name, tensor in run.rule_state.items()}
    tensors |= {f"run.{name}": tensor.contiguous() for name, tensor in run.tensors.items()}
    write_whole(folder / "checkpoint" / "state.safetensors", save(tensors, {"history": json.dumps(history)}))


def read_checkpoint(folder: Path) -> Run | None:
    """The newest complete state of a run; None when no round was ever completed.

    Raises:
        ValueError: If the checkpoint is not one of ours.
    """
    path = folder / "checkpoint" / "state.safetensors"
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            history = json.loads(file.metadata()["history"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Run(
            adapter=tensors.pop("adapter"),
            rounds=[RoundRecord(**row) for row in history["rounds"]],
            clients=[ClientRecord(**row) for row in history["clients"]],
            signals=[SignalRecord(**row) for row in history["signals"]],
            sent=[SentRecord(**row) for row in history["sent"]],
            rule_state={n.removeprefix("rule."): t for n, t in tensors.items() if n.startswith("rule.")},
            tensors={n.removeprefix("run."): t for n, t in tensors.items() if n.startswith("run.")},
            folder=folder,
        )
    except Exception as error:  # whatever is wrong in it, the remedy is the same
        raise ValueError(
            f"{str(path)!r} is no readable checkpoint ({error}); start the run anew in another folder"
        ) from error
