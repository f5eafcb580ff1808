"""Training the clients of a round."""

from fedsonar.engine.fused import FusedEngine
from fedsonar.engine.job import ClientJob, Engine, Training

__all__ = ["ClientJob", "Engine", "FusedEngine", "Training"]
