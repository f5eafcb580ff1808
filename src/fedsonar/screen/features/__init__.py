"""What the model makes of rows: gradients, hidden states and surprise, forward-only and in batches."""

from fedsonar.screen.features.features import Features
from fedsonar.screen.features.head import HeadGradients, Part

__all__ = ["Features", "HeadGradients", "Part"]
