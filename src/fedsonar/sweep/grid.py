"""Grids over an experiment: every combination of some values, for several seeds."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import tomli_w

from fedsonar.errors import ConfigError
from fedsonar.experiment import Experiment, load

Value = str | int | float | bool | list[Any] | dict[str, Any]


@dataclass(frozen=True)
class Axis:
    """A path of an experiment and the values that it takes.

    Args:
        path: As for ``--set``, ``attack.placement.rate`` say.
        values: As TOML has them.
    """

    path: str
    values: tuple[Value, ...]

    @classmethod
    def parse(cls, text: str) -> Axis:
        """An axis from ``path=a,b,c``; what is no TOML value is taken for text, so names need no quotes.

        Raises:
            ConfigError: If there is no path or no value, or a value comes twice.
        """
        path, equals, listed = text.partition("=")
        if not equals or not path.strip() or not listed.strip():
            raise ConfigError(f"grid {text!r} is not of the form path=value,value")
        try:
            values = tomllib.loads(f"values = [{listed}]")["values"]
        except tomllib.TOMLDecodeError:
            values = [_value(part.strip()) for part in listed.split(",")]
        kinds = [(type(value), value) for value in values]  # true is not 1
        twice = [value for i, value in enumerate(values) if kinds[i] in kinds[:i]]
        if twice:
            raise ConfigError(f"grid {text!r} gives {twice[0]!r} twice")
        return cls(path.strip(), tuple(values))


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Args:
        name: Folder of the run, made of the values: ``affected=0.2,rate=0.04,seed=1`` say.
        values: Path -> value, in the order of the axes.
        experiment: What is run.
    """

    name: str
    values: Mapping[str, Value]
    experiment: Experiment


def cells(path: Path, axes: Sequence[Axis], seeds: int = 1, overrides: Sequence[str] = ()) -> list[Cell]:
    """All combinations of the axes' values, each for several seeds, as runs of an experiment.

    Args:
        path: The experiment's TOML file.
        axes: What varies.
        seeds: How many seeds, from the experiment's own on.
        overrides: ``path=value`` for all runs.

    Raises:
        ConfigError: If a combination is no experiment, names the combination; or if the axes contradict one another.
    """
    paths = [axis.path for axis in axes]
    doubled = next((p for p, count in Counter(paths).items() if count > 1), None)
    if doubled is not None:
        raise ConfigError(f"{doubled} is in the grid twice; give all its values at once")
    if "seed" in paths and seeds > 1:
        raise ConfigError("the seed is in the grid, so leave out --seeds")
    if seeds < 1:
        raise ConfigError(f"--seeds must be at least 1, got {seeds}")
    short = short_names(paths)
    made = []
    for combination in product(*(axis.values for axis in axes)):
        values = dict(zip(paths, combination, strict=True))
        name = ",".join(f"{short[p]}={short_value(value)}" for p, value in values.items())
        try:
            experiment = load(path, [*overrides, *(f"{p}={_toml(value)}" for p, value in values.items())])
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}" if name else str(error)) from error
        for seed in range(experiment.seed, experiment.seed + seeds):
            numbered = name if "seed" in paths else ",".join(filter(None, [name, f"seed={seed}"]))
            made.append(Cell(_file_name(numbered), values, replace(experiment, seed=seed)))
    same = next((name for name, count in Counter(cell.name for cell in made).items() if count > 1), None)
    if same is not None:
        raise ConfigError(f"two combinations of the grid would both be called {same}; tell their values apart")
    return made


def _value(text: str) -> Value:
    try:
        value: Value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value


def _toml(value: Value) -> str:
    return tomli_w.dumps({"value": value}, multiline_strings=False).partition("= ")[2].strip()


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """The last part of each path, or all of it where two would be the same; a component's class by its section."""
    last = {path: path.removesuffix(".class_path").rpartition(".")[2] for path in paths}
    counts = Counter(last.values())
    return {path: name if counts[name] == 1 else path for path, name in last.items()}


def short_value(value: Value) -> str:
    """A value in few letters: the last part of a dotted name, as a class has."""
    if isinstance(value, str):
        return value.rpartition(".")[2] if re.fullmatch(r"[\w.]+", value) else value
    return format(value, "g") if isinstance(value, float) else str(value)


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.,=+-]+", "_", name)
