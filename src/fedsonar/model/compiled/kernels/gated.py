"""The gated activation of the feed-forward layer."""

from __future__ import annotations

from fedsonar.compiling import kernel
from fedsonar.model.compiled.kernels.numbers import exponential, load, put


@kernel
def gated_silu(gate, up, tokens, out):
    """``out = silu(gate) * up``, each (tokens, width).

    References:
        Shazeer, 2020, arXiv:2002.05202, equation 6.
    """
    for t in range(tokens):
        for i in range(gate.shape[1]):
            g = load(gate[t, i])
            put(out, t, i, g / (1 + exponential(-g)) * load(up[t, i]))


@kernel
def gated_silu_backward(d_out, gate, up, tokens):
    """Turns `gate` and `up` into their own gradients, given that of the output."""
    for t in range(tokens):
        for i in range(gate.shape[1]):
            g, u, d = load(gate[t, i]), load(up[t, i]), load(d_out[t, i])
            share = 1 / (1 + exponential(-g))
            active = g * share
            put(gate, t, i, d * u * (share + active * (1 - share)))
            put(up, t, i, d * active)
