"""What the untuned base model makes of rows: gradients, hidden states and surprise, forward-only and in batches."""

from fedsonar.screen.features.features import Features

__all__ = ["Features"]
