"""Repairs: what a server can do to a tuned model, or to the way it answers, without knowing whether it is poisoned."""

from fedsonar.repair.clean_gen import CleanGen
from fedsonar.repair.clean_tuning import CleanTuning
from fedsonar.repair.crow import Crow
from fedsonar.repair.fine_mixing import FineMixing
from fedsonar.repair.pruning import Pruning
from fedsonar.repair.repair import Answers, Repair, Repaired, Tuned

__all__ = ["Answers", "CleanGen", "CleanTuning", "Crow", "FineMixing", "Pruning", "Repair", "Repaired", "Tuned"]
