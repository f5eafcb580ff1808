"""Screens: which rows should not be trained on, by what one client or the whole federation can tell."""

from fedsonar.screen.association import Association
from fedsonar.screen.hearing import Verdict, hear, judge
from fedsonar.screen.length import Length
from fedsonar.screen.oracle import Oracle
from fedsonar.screen.response_ngrams import ResponseNgrams
from fedsonar.screen.screen import Screen, Silo, Tables
from fedsonar.screen.threshold import Above, Threshold, Top

__all__ = [
    "Above", "Association", "Length", "Oracle", "ResponseNgrams", "Screen", "Silo", "Tables", "Threshold", "Top",
    "Verdict", "hear", "judge",
]  # fmt: skip
