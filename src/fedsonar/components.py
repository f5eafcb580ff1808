"""Every component that an experiment can name, plugins included, with its parameters and its paper."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, dataclass, fields
from importlib.metadata import entry_points
from typing import Any

from fedsonar.aggregate import Aggregator
from fedsonar.data import Feature, Partitioner, Source, Template
from fedsonar.experiment import public_module, to_config
from fedsonar.poison import Paraphraser, Placement, Target, Trigger
from fedsonar.repair import Repair
from fedsonar.screen import Screen, Threshold
from fedsonar.spelling import concrete

FAMILIES: dict[str, type] = {
    "data": Source,
    "partition": Partitioner,
    "template": Template,
    "attack.trigger": Trigger,
    "attack.trigger.feature": Feature,
    "attack.trigger.paraphraser": Paraphraser,
    "attack.target": Target,
    "attack.placement": Placement,
    "screen": Screen,
    "screen.threshold": Threshold,
    "aggregator": Aggregator,
    "repair": Repair,
}


@dataclass(frozen=True)
class Component:
    """One component.

    Args:
        section: Section of the experiment that names it.
        class_path: What to write there.
        summary: First line of its docstring.
        parameters: Name -> default, None for a required one without.
        required: Names of the parameters without a default.
        reference: Its paper, empty when it has none.
    """

    section: str
    class_path: str
    summary: str
    parameters: dict[str, Any]
    required: tuple[str, ...]
    reference: str


def load_plugins() -> list[str]:
    """Imports what installed packages announce in the ``fedsonar.plugins`` entry-point group; returns their names."""
    names = []
    for point in entry_points(group="fedsonar.plugins"):
        point.load()
        names.append(point.name)
    return names


def components() -> list[Component]:
    """All concrete components that are imported or announced, by family and name."""
    load_plugins()
    found = []
    for section, family in FAMILIES.items():
        for kind in sorted(concrete(family), key=lambda kind: kind.__name__):
            doc = inspect.getdoc(kind) or ""
            reference = re.search(r"^References:\n((?:[ ]+.*\n?)+)", doc, re.MULTILINE)
            paper = " ".join(reference.group(1).split()) if reference else ""
            path = f"{public_module(kind)}.{kind.__qualname__}"
            found.append(Component(section, path, doc.split("\n")[0], _parameters(kind), _required(kind), paper))
    return found


def _required(kind: type) -> tuple[str, ...]:
    unset = (f.name for f in fields(kind) if f.init and f.default is MISSING and f.default_factory is MISSING)
    return tuple(unset)


def _parameters(kind: type) -> dict[str, Any]:
    made = {}
    for f in fields(kind):
        if not f.init:
            continue
        default = f.default_factory() if f.default_factory is not MISSING else f.default
        made[f.name] = None if default is MISSING else to_config(default)
    return made
