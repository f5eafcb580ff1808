"""Aggregation rules: how the server turns a round's updates into one step."""

from fedsonar.aggregate.alignins import AlignIns
from fedsonar.aggregate.bucketing import Bucketing
from fedsonar.aggregate.bulyan import Bulyan
from fedsonar.aggregate.centered_clipping import CenteredClipping
from fedsonar.aggregate.clipping import Clipping
from fedsonar.aggregate.dnc import DnC
from fedsonar.aggregate.fedavg import FedAvg
from fedsonar.aggregate.flame import FLAME
from fedsonar.aggregate.fldetector import FLDetector
from fedsonar.aggregate.flower_strategy import FlowerStrategy
from fedsonar.aggregate.fltrust import FLTrust
from fedsonar.aggregate.foolsgold import FoolsGold
from fedsonar.aggregate.foundation_fl import FoundationFL
from fedsonar.aggregate.freqfed import FreqFed
from fedsonar.aggregate.geometric_median import GeometricMedian
from fedsonar.aggregate.intake import refusals
from fedsonar.aggregate.krum import Krum
from fedsonar.aggregate.median import Median
from fedsonar.aggregate.multi_krum import MultiKrum
from fedsonar.aggregate.multi_metrics import MultiMetrics
from fedsonar.aggregate.nnm import NNM
from fedsonar.aggregate.norm_clip import NormClip
from fedsonar.aggregate.pre_aggregator import Chain, PreAggregator
from fedsonar.aggregate.rlr import RLR
from fedsonar.aggregate.rule import Aggregator, Matrix, RoundContext
from fedsonar.aggregate.server_optimiser import FedAdagrad, FedAdam, FedAvgM, FedYogi
from fedsonar.aggregate.trimmed_mean import TrimmedMean
from fedsonar.aggregate.weak_dp import WeakDP

__all__ = [
    "FLAME",
    "NNM",
    "RLR",
    "Aggregator",
    "AlignIns",
    "Bucketing",
    "Bulyan",
    "CenteredClipping",
    "Chain",
    "Clipping",
    "DnC",
    "FLDetector",
    "FLTrust",
    "FedAdagrad",
    "FedAdam",
    "FedAvg",
    "FedAvgM",
    "FedYogi",
    "FlowerStrategy",
    "FoolsGold",
    "FoundationFL",
    "FreqFed",
    "GeometricMedian",
    "Krum",
    "Matrix",
    "Median",
    "MultiKrum",
    "MultiMetrics",
    "NormClip",
    "PreAggregator",
    "RoundContext",
    "TrimmedMean",
    "WeakDP",
    "refusals",
]
