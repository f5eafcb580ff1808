"""Training the clients of a round."""

from fedsonar.engine.fused import FusedEngine
from fedsonar.engine.job import ROOT, ClientJob, Engine, Training

__all__ = ["ROOT", "ClientJob", "Engine", "FusedEngine", "Training"]
