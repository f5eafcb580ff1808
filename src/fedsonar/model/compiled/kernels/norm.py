"""Root-mean-square normalisation of the residual stream, together with what is added to the stream before it."""

from __future__ import annotations

import math

from fedsonar.compiling import kernel
from fedsonar.model.compiled.kernels.numbers import load, put


@kernel
def add_and_norm(x, added, weight, eps, tokens, total, normed, inverse):
    """``total = x + added`` and ``normed = total / sqrt(mean(total^2) + eps) * weight``, token by token.

    Args:
        x: The stream, (tokens, width), wide.
        added: What a layer adds, (tokens, width), or None.
        weight: Of the norm, (width,), wide.
        eps: Of the norm.
        tokens: How many rows of the arrays count.
        total: Takes the new stream; may be `x`.
        normed: Takes the normalised stream.
        inverse: Takes the factors 1 / sqrt(...), (tokens,).

    References:
        Zhang and Sennrich, 2019, arXiv:1910.07467, equation 4.
    """
    width = x.shape[1]
    for t in range(tokens):
        if added is not None:
            for i in range(width):
                total[t, i] = x[t, i] + load(added[t, i])
        square = eps * 0
        for i in range(width):
            square += total[t, i] * total[t, i]
        factor = 1 / math.sqrt(square / width + eps)
        inverse[t] = factor
        for i in range(width):
            put(normed, t, i, total[t, i] * inverse[t] * weight[i])


@kernel
def norm_backward(d_normed, x, weight, inverse, tokens, d_x, d_x_stored):
    """Adds the norm's gradient to that of the stream.

    Args:
        d_normed: Gradient of the normalised stream.
        x: The stream that was normalised, wide.
        weight: Of the norm.
        inverse: As `add_and_norm` left it.
        tokens: How many rows count.
        d_x: Gradient of the stream, wide, added to.
        d_x_stored: Takes the sum in the products' type, or None.
    """
    width = x.shape[1]
    for t in range(tokens):
        factor = inverse[t]
        along = factor * 0
        for i in range(width):
            along += load(d_normed[t, i]) * weight[i] * x[t, i]
        along *= factor * factor * factor / width
        for i in range(width):
            d_x[t, i] += load(d_normed[t, i]) * weight[i] * factor - x[t, i] * along
        if d_x_stored is not None:
            for i in range(width):
                put(d_x_stored, t, i, d_x[t, i])
