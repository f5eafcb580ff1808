"""The experiment: one object graph that says everything a run needs, written as TOML."""

from __future__ import annotations

import tomllib
from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import tomli_w
from jsonargparse import ArgumentParser

from fedsonar.aggregate import Aggregator, FedAvg
from fedsonar.data import IID, Atlas, Partitioner, Source, Template
from fedsonar.engine import Training
from fedsonar.errors import ConfigError
from fedsonar.measure import Evaluation, ReadingSpace
from fedsonar.model import Base, Lora, SpaceName
from fedsonar.poison import Attack
from fedsonar.repair import Repair
from fedsonar.screen import Screen
from fedsonar.spelling import check, check_types, gathered


@dataclass(frozen=True, kw_only=True)
class Bsnr:
    """How the backdoor signal-to-noise ratio is estimated.

    Args:
        space: What an update is: the effective change of the weights (``product``) or the factors A and B themselves.
        resamples: Draws of the intervals.
        twins: Train each affected client once more without its poisoned rows, which shows what they change at any
            share of affected clients; costs as much again for each of them.
        parts: Read every layer and every kind of module too, in both spaces, into ``bsnr.parquet``.
    """

    space: ReadingSpace = "product"
    resamples: int = 400
    twins: bool = False
    parts: bool = False


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One federation, from its data to its measurement.

    Args:
        name: Title in tables and reports.
        seed: Seed of every random stream.
        rounds: Communication rounds.
        clients_per_round: Clients drawn for each round; 0 for all.
        min_updates: Fewest updates that a round can do with; with fewer it fails, and the run can go on from there. One
            where it is left out.
        max_length: Most tokens of a row, prompt and response together; the model's own limit when that is lower.
        base: The frozen base model.
        lora: The adapter that clients train.
        data: Where rows come from.
        partition: How rows are dealt out to clients.
        template: How a row becomes a prompt; by default the model's chat template, or plain sections.
        attack: What is planted in the clients' rows; none for a clean run.
        screen: Judges every client's rows before the first round; what it flags leaves training and weights.
        screen_every: Judge anew every so many rounds, with the model tuned so far; none for once.
        training: How a client trains.
        pass_tokens: Most padded tokens in one training pass, which bounds memory; 0 takes what suits the device.
        space: What an update is to the rule: the ``factors`` A and B, their ``product`` (for small models; the server
            cuts the result back to rank r), or B alone, with A never trained (``freeze-a``).
        aggregator: How updates become the step of the global adapter.
        repair: What the server does to the model after the last round; examined beside the model as it was.
        evaluation: How the model is examined.
        bsnr: How the signal is measured.
    """

    name: str = ""
    seed: int = 0
    rounds: int = 10
    clients_per_round: int = 0
    min_updates: int | None = None
    max_length: int = 512
    base: Base = field(default_factory=Base)
    lora: Lora = field(default_factory=Lora)
    data: Source = field(default_factory=Atlas)
    partition: Partitioner = field(default_factory=IID)
    template: Template | None = None
    attack: Attack | None = None
    screen: Screen | None = None
    screen_every: int | None = None
    training: Training = field(default_factory=Training)
    pass_tokens: int = 0
    space: SpaceName = "factors"
    aggregator: Aggregator = field(default_factory=FedAvg)
    repair: Repair | None = None
    evaluation: Evaluation = field(default_factory=Evaluation)
    bsnr: Bsnr = field(default_factory=Bsnr)

    def __post_init__(self) -> None:
        check_types(self)
        least = {"rounds": 1, "max_length": 8, "pass_tokens": 0, "clients_per_round": 0, "min_updates": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise ValueError(f"{name} must be at least {bound}, got {value}")
        if self.screen_every is not None and self.screen_every < 1:
            raise ValueError(f"screen_every must be at least 1, or left out for once, got {self.screen_every}")


def load(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment of a TOML file, with ``path=value`` overrides, for example ``training.lr=0.001``.

    Raises:
        ConfigError: If the file cannot be read, or a name or value in it is wrong.
    """
    try:
        config = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))  # some editors write a mark in front
    except OSError as error:
        raise ConfigError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{str(path)!r} is not valid TOML: {error}") from error
    return configured(config, overrides)


def configured(config: dict[str, Any], overrides: Sequence[str]) -> Experiment:
    """The experiment of a nested mapping with ``path=value`` overrides.

    Raises:
        ConfigError: As `load`.
    """
    config = gathered(config)
    for override in overrides:
        _override(config, override)
    return from_config(config)


def _override(config: dict[str, Any], override: str) -> None:
    """Sets one value; ``init_args`` may be left out, so that ``aggregator.f=2`` reaches Krum's f."""
    path, equals, text = override.partition("=")
    if not equals or not path.strip():
        raise ConfigError(f"override {override!r} is not of the form path=value")
    try:
        value = gathered(tomllib.loads(f"value = {text}")["value"])
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = path.strip().split(".")
    if last == "init_args":
        raise ConfigError(f"override {override!r}: name one of the arguments, as in {path.strip()}.name=value")
    node = config
    for place, parent in enumerate(parents, 1):
        if parent == "init_args":
            continue
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"override {override!r}: {parent} is a value, not a section")
        named = last == "class_path" and place == len(parents)
        node = child.setdefault("init_args", {}) if "class_path" in child and not named else child
    if last == "class_path":
        arguments = {} if "class_path" in node else dict(node)  # those of another class are none of this one
        node.clear()
        node["init_args"] = arguments
    node[last] = value


def from_config(config: Mapping[str, Any]) -> Experiment:
    """The experiment of a nested mapping, as TOML gives it.

    Raises:
        ConfigError: Naming the key and the remedy.
    """
    config = gathered(config)
    check(config, Experiment)
    parser = _parser()
    try:
        parsed = parser.instantiate(parser.parse_object(config))
        return Experiment(**vars(parsed))
    except Exception as error:  # jsonargparse raises many kinds; each says in words what is wrong
        raise ConfigError(_one_line(error)) from error


@cache
def _parser() -> ArgumentParser:
    """What reads an experiment, made once."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Experiment, None)
    return parser


def _one_line(error: BaseException) -> str:
    """The parser's message in a line, or the innermost one when a component refused its arguments."""
    inner: BaseException | None = None if "Parser key" in str(error) else error
    while inner is not None:
        if type(inner) is ValueError and "\n" not in str(inner):
            return str(inner)
        inner = inner.__cause__
    text = " ".join(str(error).split()).replace('Parser key "', 'key "')
    return text.replace("<class '", "").replace("'>", "")


def to_config(component: Any) -> Any:
    """The nested mapping of a component: what `from_config` reads. None is left out, as TOML has no such value.

    Raises:
        ConfigError: If what is left out would be read back as something else, as it is not None by default.
    """
    if is_dataclass(component) and not isinstance(component, type):
        values = {f.name: to_config(getattr(component, f.name)) for f in fields(component) if f.init}
        for f in fields(component):
            if f.init and values[f.name] is None and f.default is not None:
                raise ConfigError(
                    f"{type(component).__name__}({f.name}=None) cannot be kept: TOML has no such value, and what is "
                    f"left out would be read as the default; take another value of {f.name}"
                )
        values = {name: value for name, value in values.items() if value is not None}
        if isinstance(component, ABC):
            kind = type(component)
            return {"class_path": f"{public_module(kind)}.{kind.__qualname__}", "init_args": values}
        return values
    if isinstance(component, tuple | list):
        return [to_config(value) for value in component]
    return component


def public_module(kind: type) -> str:
    """The shortest module that gives the class: fedsonar.aggregate rather than fedsonar.aggregate.krum."""
    import sys

    parts = kind.__module__.split(".")
    for end in range(1, len(parts)):
        name = ".".join(parts[:end])
        if getattr(sys.modules.get(name), kind.__qualname__, None) is kind:
            return name
    return kind.__module__


def to_toml(experiment: Experiment) -> str:
    """The experiment with every default written out."""
    return tomli_w.dumps(to_config(experiment))
