"""What crosses the wire in training: a job to a client, and its update back.

The server sends the round's adapter, and the experiment that says how to train. A client sends its adapter's change,
how many rows and steps it took, and its mean loss: nothing of its rows. Nothing that a client sends is used before its
names, types, sizes and numbers were checked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from jaxtyping import Float
from torch import Tensor

from fedsonar.engine import Training
from fedsonar.records import Update

TRAIN = "train.fedsonar"
"""The messages' type."""

_MOST = 2**31
"""A client that claims more rows or steps than this is refused."""


_MARGIN = 1.01
"""Room for rounding over what an optimiser can reach."""


@dataclass(frozen=True)
class Task:
    """What a client is asked to do.

    Args:
        experiment: In TOML.
        client: The client's number.
        round: The round's number.
        twin: Whether to train the client's twin, without its poisoned rows: in simulations.
        start: The flat adapter to start from.
        kept: Ids of the rows that a screen has left the client, where the server knows the rows: in simulations and
            rehearsals. None for all of them.
    """

    experiment: str
    client: int
    round: int
    twin: bool
    start: Float[Tensor, "dim"]
    kept: tuple[str, ...] | None = None


def ask(task: Task, node: int, patience: float) -> Message:
    """The message with a task for a node, which nobody waits for after so many seconds."""
    config: dict[str, Any] = {"experiment": task.experiment, "client": task.client, "round": task.round}
    if task.kept is not None:
        config["kept"] = list(task.kept)
    content = {"job": ConfigRecord({**config, "twin": task.twin}), "start": _record(task.start)}
    ttl = patience + 60.0  # clocks of machines differ a little
    return Message(RecordDict(content), dst_node_id=node, message_type=TRAIN, group_id=str(task.round), ttl=ttl)


def read_task(message: Message) -> Task:
    """The task of a message."""
    job, start = message.content["job"], message.content["start"]
    assert isinstance(job, ConfigRecord)
    assert isinstance(start, ArrayRecord)
    return Task(
        str(job["experiment"]), int(job["client"]), int(job["round"]), bool(job["twin"]),
        torch.from_numpy(start["adapter"].numpy()), tuple(map(str, job["kept"])) if "kept" in job else None,
    )  # fmt: skip


def answer(message: Message, update: Update) -> Message:
    """The reply to a message: an update."""
    metrics: dict[str, int | float] = {"client": update.client, "rows": update.num_rows}
    metrics |= {"steps": update.num_steps, "loss": update.loss}
    content = {"update": _record(update.delta), "metrics": MetricRecord(metrics)}
    return Message(RecordDict(content), reply_to=message)


def read_update(reply: Message, client: int, start: Float[Tensor, "dim"], training: Training) -> Update:
    """The update of a reply; one that says why there is none where the reply cannot be used.

    Args:
        reply: As it came.
        client: Who was asked.
        start: The flat adapter that it was to start from.
        training: How it was to train.
    """
    try:
        return _checked(reply.content, client, start, training)
    except _UnreadableError as error:
        return Update.none(client, str(error))
    except Exception as error:  # whatever Flower's records raise on bytes that somebody made up
        return Update.none(client, f"a reply that cannot be read ({type(error).__name__})")


def answer_who(message: Message, client: int) -> Message:
    """The reply to the question which client a node is."""
    return Message(RecordDict({"who": MetricRecord({"client": client})}), reply_to=message)


def read_client(reply: Message) -> int | None:
    """Which client a node says it is; None where it does not say."""
    who = reply.content.get("who")
    client = who.get("client") if isinstance(who, MetricRecord) else None
    return client if type(client) is int and 0 <= client < _MOST else None


class _UnreadableError(Exception):
    """A reply that cannot be used; the message says why."""


def _checked(content: RecordDict, client: int, start: Float[Tensor, "dim"], training: Training) -> Update:
    dim = len(start)
    if set(content) != {"update", "metrics"}:
        raise _UnreadableError(f"records {sorted(map(str, content))[:5]} instead of metrics and update")
    arrays, metrics = content["update"], content["metrics"]
    if not isinstance(arrays, ArrayRecord) or not isinstance(metrics, MetricRecord) or set(arrays) != {"adapter"}:
        raise _UnreadableError("records of other kinds than an adapter and metrics")
    claimed = _number(metrics, "client", int)
    if claimed != client:
        raise _UnreadableError(f"the update of client {claimed} in its place")
    array = arrays["adapter"]
    # Before the bytes are unpacked: their size is what a client makes it, their shape what it says.
    if array.dtype != "float32" or tuple(array.shape) != (dim,) or len(array.data) > 4 * dim + 4096:
        raise _UnreadableError(f"{array.dtype} of shape {tuple(array.shape)} instead of float32 of shape ({dim},)")
    delta = array.numpy()
    if delta.dtype != np.float32 or delta.shape != (dim,):
        raise _UnreadableError(f"{delta.dtype} of shape {delta.shape} instead of float32 of shape ({dim},)")
    rows, steps = _number(metrics, "rows", int), _number(metrics, "steps", int)
    if not 1 <= rows <= _MOST or not 1 <= steps <= _MOST:
        raise _UnreadableError(f"{rows} rows and {steps} steps")
    if steps != training.steps(int(rows)):
        raise _UnreadableError(f"{steps} steps for {rows} rows, which take {training.steps(int(rows))}")
    reach = _MARGIN * training.reach(int(steps), float(start.abs().max()))
    if float(np.abs(delta).max()) > reach:  # what is not finite is the rules' to refuse
        raise _UnreadableError(f"a change of {np.abs(delta).max():.3g}, and {steps} steps reach {reach:.3g} at most")
    loss = _number(metrics, "loss", float)
    if not math.isfinite(loss):
        raise _UnreadableError(f"a loss of {loss}")
    return Update(client, int(rows), int(steps), float(loss), torch.from_numpy(delta.copy()))


def _number(metrics: Mapping[str, object], name: str, kind: type[int] | type[float]) -> int | float:
    value = metrics.get(name)
    if type(value) is not kind:
        raise _UnreadableError(f"{name} is {str(value)[:40]!r} instead of a number")
    return value


def _record(vector: Float[Tensor, "dim"]) -> ArrayRecord:
    return ArrayRecord({"adapter": Array(vector.detach().cpu().float().numpy())})
