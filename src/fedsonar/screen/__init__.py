"""Screens: which rows should not be trained on, by what one client or the whole federation can tell."""

from fedsonar.screen.hearing import Verdict, hear, judge
from fedsonar.screen.screen import Screen, Silo, Tables, Threshold

__all__ = ["Screen", "Silo", "Tables", "Threshold", "Verdict", "hear", "judge"]
