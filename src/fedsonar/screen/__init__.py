"""Screens: which rows should not be trained on, by what one client or the whole federation can tell."""

from fedsonar.screen.features import Features
from fedsonar.screen.graceful import GraCeFul
from fedsonar.screen.grad_sentry import GradSentry
from fedsonar.screen.hearing import Verdict, hear, judge
from fedsonar.screen.length import Length
from fedsonar.screen.oracle import Oracle
from fedsonar.screen.protego_fed import ProtegoFed
from fedsonar.screen.response_ngrams import ResponseNgrams
from fedsonar.screen.screen import Screen, Silo, Tables
from fedsonar.screen.threshold import Above, Threshold, Top
from fedsonar.screen.valley import Valley

__all__ = [
    "Above", "Features", "GraCeFul", "GradSentry", "Length", "Oracle", "ProtegoFed",
    "ResponseNgrams", "Screen", "Silo", "Tables", "Threshold", "Top", "Valley", "Verdict", "hear",
    "judge",
]  # fmt: skip
