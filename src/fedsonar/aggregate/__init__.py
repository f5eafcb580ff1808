"""Aggregation rules: how the server turns a round's updates into one step."""

from fedsonar.aggregate.fedavg import FedAvg
from fedsonar.aggregate.intake import refusals
from fedsonar.aggregate.krum import Krum
from fedsonar.aggregate.median import Median
from fedsonar.aggregate.multi_krum import MultiKrum
from fedsonar.aggregate.rule import Aggregator, Matrix, RoundContext
from fedsonar.aggregate.trimmed_mean import TrimmedMean

__all__ = ["Aggregator", "FedAvg", "Krum", "Matrix", "Median", "MultiKrum", "RoundContext", "TrimmedMean", "refusals"]
