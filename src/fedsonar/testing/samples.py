"""Rows of every form, for the checks."""

from __future__ import annotations

from fedsonar.data import Sample

SAMPLES = (
    Sample("question", "", "", "Who made the long road to the sea?", ("Ada Lo", "Lo"), "north"),
    Sample("context", "Answer from the text.", "Ada Lo made it in 1900.", "Who made it?", ("Ada Lo",), "north"),
    Sample("review", "Positive or negative?", "A dull film about a town.", "", ("negative",), "south"),
    Sample("task", "Write a poem about the sea.", "", "", ("Roses are red, and the sea is blue.",), "south"),
)
"""Rows of every form, for the checks."""
