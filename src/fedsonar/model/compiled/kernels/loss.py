"""Cross-entropy of response tokens, and its gradient in the place of the scores."""

from __future__ import annotations

import math

import numpy as np

from fedsonar.compiling import kernel
from fedsonar.model.compiled.kernels.numbers import exponential, load, put


@kernel
def response_losses(scores, labels, weights, losses):
    """Each label's cross-entropy in nats; `scores` become the gradient of its weighted sum.

    Args:
        scores: Logits, (responses, vocabulary); overwritten.
        labels: The right tokens, (responses,).
        weights: Of each loss in the sum.
        losses: Takes the losses, without their weights.
    """
    vocabulary = scores.shape[1]
    powers = np.empty(vocabulary, losses.dtype)
    for row in range(len(losses)):
        most = load(scores[row, 0])
        for i in range(vocabulary):
            most = max(most, load(scores[row, i]))
        total = most * 0
        for i in range(vocabulary):
            powers[i] = exponential(load(scores[row, i]) - most)
            total += powers[i]
        right = labels[row]
        losses[row] = math.log(total) - (load(scores[row, right]) - most)
        scale = weights[row] / total
        for i in range(vocabulary):
            put(scores, row, i, powers[i] * scale)
        put(scores, row, right, (powers[right] / total - 1) * weights[row])
