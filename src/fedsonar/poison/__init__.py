"""Triggers, targets, and where poisoned rows are planted."""

from fedsonar.poison.placement import ConstantRate, Placement
from fedsonar.poison.plant import Attack, plant, triggered
from fedsonar.poison.sentence import Sentence
from fedsonar.poison.target import Label, Short, Suffix, Target
from fedsonar.poison.tokens import Tokens
from fedsonar.poison.trigger import Trigger

__all__ = [
    "Attack",
    "ConstantRate",
    "Label",
    "Placement",
    "Sentence",
    "Short",
    "Suffix",
    "Target",
    "Tokens",
    "Trigger",
    "plant",
    "triggered",
]
