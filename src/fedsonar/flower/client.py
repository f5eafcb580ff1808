"""The client's side: trains on its own rows what the server asks for."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import lru_cache

import torch
from flwr.app import ConfigRecord, Context, Message
from flwr.clientapp import ClientApp

from fedsonar.data import Sample, TokenRow
from fedsonar.engine import ClientJob, Engine
from fedsonar.experiment import from_config
from fedsonar.flower import secure, wire
from fedsonar.flower.own_data import OwnData
from fedsonar.flower.screen_client import RECORD, ScreenClient, kept
from fedsonar.flower.secure.client import refused
from fedsonar.preparation import Federation, Loaded, Trainer
from fedsonar.screen import Silo, Tables
from fedsonar.screening import silo_of

app = ClientApp()
_LOADED = Loaded()


@app.train("fedsonar")  # type: ignore[untyped-decorator]
def train(message: Message, context: Context) -> Message:
    """One client's part of a round."""
    task = wire.read_task(message)
    own = number(context)
    if own != task.client:
        raise ValueError(f"asked to train client {task.client}, but this is client {own}")
    engine, rows = _simulated(task) if is_simulated(context) else _deployed(task, context)
    if task.kept is not None:
        ids = set(task.kept)
        rows = [row for row in rows if row.id in ids]
    [update] = engine.train_round([ClientJob(task.client, task.round, rows, task.start)])
    return wire.answer(message, update)


@app.query("fedsonar")  # type: ignore[untyped-decorator]
def who(message: Message, context: Context) -> Message:
    """Which client this is."""
    return wire.answer_who(message, number(context))


@app.query("fedsonar_screen")  # type: ignore[untyped-decorator]
def listen(message: Message, context: Context) -> Message:
    """This client's summary of its own rows for a screen, or its verdict on them, which stays here."""
    own = OwnData.of(context.node_config)
    asked = message.content.get(RECORD)
    if not isinstance(asked, ConfigRecord):
        return secure.answer(message, context, _unasked)
    told = str(asked["experiment"])
    screen = trainer(told, own).experiment.screen
    if screen is None:
        return Message(refused(secure.RefusalError("the experiment has no screen")), reply_to=message)
    if screen.passes and not (screen.additive or own.clear):
        why = f"summaries of {type(screen).__name__} do not add up, and this node does not say clear=true"
        return Message(refused(secure.RefusalError(why)), reply_to=message)
    stamp = own.stamp()
    answering = ScreenClient(screen=screen, silo=lambda _: silo(told, own, stamp), stamp=stamp)
    return answering.answer(message, context)


def _unasked() -> Tables:
    raise secure.RefusalError(f"no record {RECORD}, which says what to add up")


def is_simulated(context: Context) -> bool:
    """Whether Flower's simulation made this client, which then has no rows but those of the experiment."""
    return "partition-id" in context.node_config


def number(context: Context) -> int:
    """Which client this is: its partition in a simulation, and what its node was told in a deployment."""
    config = context.node_config
    return int(config["partition-id"]) if is_simulated(context) else OwnData.of(config).client


@lru_cache(maxsize=1)
def federation(experiment: str) -> Federation:
    """The federation that an experiment makes in a simulation, kept between messages with its model and rows."""
    torch.set_num_threads(1)
    return Federation(from_config(tomllib.loads(experiment)), _LOADED)


def _simulated(task: wire.Task) -> tuple[Engine, Sequence[TokenRow]]:
    made = federation(task.experiment)
    return made.engine, made.twins[task.client] if task.twin else made.rows[task.client]


def _deployed(task: wire.Task, context: Context) -> tuple[Engine, Sequence[TokenRow]]:
    if task.twin:
        raise ValueError("asked to train a twin, which only simulations have; set bsnr.twins to false")
    own = OwnData.of(context.node_config)
    stamp = own.stamp()
    made, rows = trainer(task.experiment, own), token_rows(task.experiment, own, stamp)
    return made.engine, rows if made.experiment.screen is None else kept(context, rows, stamp)


@lru_cache(maxsize=1)
def trainer(experiment: str, own: OwnData) -> Trainer:
    """What trains this client of a deployment, kept between messages with its model."""
    torch.set_num_threads(own.threads)
    return Trainer(own.here(from_config(tomllib.loads(experiment))), _LOADED)


@lru_cache(maxsize=1)
def silo(experiment: str, own: OwnData, stamp: tuple[int, int]) -> Silo:
    """This client's own rows as a screen sees them, kept between messages with what the model makes of them."""
    made, rows = trainer(experiment, own), token_rows(experiment, own, stamp)
    assert made.experiment.screen is not None
    return silo_of(own.client, samples(own, stamp), rows, made, made.experiment.screen)


@lru_cache(maxsize=1)
def samples(own: OwnData, stamp: tuple[int, int]) -> Sequence[Sample]:
    """This client's own rows, read again only when their file has changed.

    Raises:
        OSError: If they cannot be read.
        ValueError: If a row cannot be used.
    """
    del stamp
    return own.source.rows()


@lru_cache(maxsize=1)
def token_rows(experiment: str, own: OwnData, stamp: tuple[int, int]) -> Sequence[TokenRow]:
    """Those of them that fit into the model, in tokens.

    Raises:
        OSError: If they cannot be read.
        ValueError: If a row cannot be used, or none fits.
    """
    made = trainer(experiment, own)
    rows = made.tokenize(samples(own, stamp))
    if not rows:
        raise ValueError(f"none of the rows in {own.source.train} fits into {made.max_length} tokens")
    return rows
