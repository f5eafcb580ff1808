"""The client's side: trains on its own rows what the server asks for."""

from __future__ import annotations

import tomllib
from functools import lru_cache

import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedsonar.engine import ClientJob
from fedsonar.experiment import from_config
from fedsonar.flower import wire
from fedsonar.preparation import Federation, Loaded

app = ClientApp()
_LOADED = Loaded()


@lru_cache(maxsize=1)
def _federation(experiment: str) -> Federation:
    """The federation that an experiment makes, kept between messages with its model and rows."""
    torch.set_num_threads(1)
    return Federation(from_config(tomllib.loads(experiment)), _LOADED)


@app.train("fedsonar")  # type: ignore[untyped-decorator]
def train(message: Message, context: Context) -> Message:
    """One client's part of a round."""
    task = wire.read_task(message)
    own = context.node_config.get("partition-id")
    if own != task.client:
        raise ValueError(f"asked to train client {task.client}, but this is client {own}")
    federation = _federation(task.experiment)
    rows = federation.twins[task.client] if task.twin else federation.rows[task.client]
    [update] = federation.engine.train_round([ClientJob(task.client, task.round, rows, task.start)])
    return wire.answer(message, update)


@app.query("fedsonar")  # type: ignore[untyped-decorator]
def who(message: Message, context: Context) -> Message:
    """Which client this is."""
    return wire.answer_who(message, int(context.node_config["partition-id"]))
