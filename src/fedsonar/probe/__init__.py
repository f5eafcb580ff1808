"""Asking a tuned adapter whether it answers differently to a candidate trigger than to any other words."""

from fedsonar.probe.asking import Asker
from fedsonar.probe.candidates import Candidate, plausible, read_candidates
from fedsonar.probe.lift import Lift, Said, lift
from fedsonar.probe.probe import Finding, Options, probe

__all__ = [
    "Asker", "Candidate", "Finding", "Lift", "Options", "Said", "lift", "plausible", "probe", "read_candidates",
]  # fmt: skip
