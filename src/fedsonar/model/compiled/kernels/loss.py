"""Cross-entropy of response tokens, and its gradient in the place of the scores."""

from __future__ import annotations

import math

from fedsonar.model.compiled.kernels.numbers import exponential, kernel, load, put


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
    for row in range(len(losses)):
        most = load(scores[row, 0])
        for i in range(vocabulary):
            most = max(most, load(scores[row, i]))
        total = most * 0
        for i in range(vocabulary):
            total += exponential(load(scores[row, i]) - most)
        right = load(scores[row, labels[row]]) - most
        losses[row] = math.log(total) - right
        scale = weights[row] / total
        for i in range(vocabulary):
            put(scores, row, i, exponential(load(scores[row, i]) - most) * scale)
        put(scores, row, labels[row], (exponential(right) / total - 1) * weights[row])
