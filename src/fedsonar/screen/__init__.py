"""Screens: which rows should not be trained on, by what one client or the whole federation can tell."""

from fedsonar.screen.activation_clustering import ActivationClustering
from fedsonar.screen.association import Association
from fedsonar.screen.cube import Cube
from fedsonar.screen.features import Features
from fedsonar.screen.graceful import GraCeFul
from fedsonar.screen.grad_sentry import GradSentry
from fedsonar.screen.gradient_shift import GradientShift
from fedsonar.screen.hearing import Verdict, gathered, hear, judge
from fedsonar.screen.length import Length
from fedsonar.screen.onion import Onion
from fedsonar.screen.oracle import Oracle
from fedsonar.screen.protego_fed import ProtegoFed
from fedsonar.screen.response_ngrams import ResponseNgrams
from fedsonar.screen.response_shift import ResponseShift
from fedsonar.screen.screen import Screen, Silo, Tables
from fedsonar.screen.sonar import Sonar
from fedsonar.screen.spectral_signatures import SpectralSignatures
from fedsonar.screen.strip import Strip
from fedsonar.screen.threshold import Above, Outliers, Threshold, Top
from fedsonar.screen.tuning import Tuning
from fedsonar.screen.valley import Valley

__all__ = [
    "Above", "ActivationClustering", "Association", "Cube", "Features", "GraCeFul", "GradSentry", "GradientShift",
    "Length", "Onion", "Oracle", "Outliers", "ProtegoFed", "ResponseNgrams", "ResponseShift", "Screen", "Silo",
    "Sonar", "SpectralSignatures", "Strip", "Tables", "Threshold", "Top", "Tuning", "Valley", "Verdict", "gathered",
    "hear", "judge",
]  # fmt: skip
