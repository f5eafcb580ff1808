"""The norm of the residual stream against PyTorch's own gradients."""

import numpy as np
import pytest
import torch

from fedsonar.model.compiled.kernels.norm import add_and_norm, norm_backward
from fedsonar.model.compiled.kernels.numbers import array

EPS = 1e-3
WIDTH, TOKENS, ROOM = 37, 5, 7  # rows behind the tokens are not theirs


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def normed(x, weight):
    """Zhang and Sennrich, 2019, equation 4."""
    return x / (x.square().mean(-1, keepdim=True) + EPS).sqrt() * weight


def test_forward_adds_and_normalises():
    x, added, weight = drawn(ROOM, WIDTH), drawn(ROOM, WIDTH, seed=1), drawn(WIDTH, seed=2)
    x[0], added[0] = 1e-3 * x[0], 1e-3 * added[0]  # small enough for eps to matter
    total, out, inverse = np.full((ROOM, WIDTH), 7.0), np.full((ROOM, WIDTH), 7.0), np.full(ROOM, 7.0)
    add_and_norm(x.numpy(), added.numpy(), weight.numpy(), EPS, TOKENS, total, out, inverse)
    expected = x + added
    assert np.allclose(total[:TOKENS], expected[:TOKENS], rtol=0, atol=1e-15)
    assert np.allclose(out[:TOKENS], normed(expected, weight)[:TOKENS], rtol=1e-12)
    assert np.allclose(inverse[:TOKENS], (expected.square().mean(-1) + EPS).rsqrt()[:TOKENS], rtol=1e-12)
    assert (total[TOKENS:] == 7).all()
    assert (out[TOKENS:] == 7).all()
    assert (inverse[TOKENS:] == 7).all()


def test_forward_takes_the_stream_as_it_is_or_adds_in_place():
    x, added, weight = drawn(TOKENS, WIDTH), drawn(TOKENS, WIDTH, seed=1), drawn(WIDTH, seed=2)
    for more in (None, added):
        stream, out, inverse = x.clone().numpy(), np.zeros((TOKENS, WIDTH)), np.zeros(TOKENS)
        add_and_norm(stream, None if more is None else more.numpy(), weight.numpy(), EPS, TOKENS, stream, out, inverse)
        expected = x if more is None else x + more
        assert np.allclose(stream, expected, rtol=0, atol=1e-15)
        assert np.allclose(out, normed(expected, weight), rtol=1e-12)


@pytest.mark.parametrize("stored", [False, True])
def test_backward_adds_the_norm_s_gradient(stored):
    x, weight, d_out, d_x = (
        drawn(*shape, seed=i) for i, shape in enumerate([(ROOM, WIDTH), (WIDTH,)] + 2 * [(ROOM, WIDTH)])
    )
    x.requires_grad_()
    (expected,) = torch.autograd.grad(normed(x, weight), x, d_out)
    x = x.detach()
    expected = torch.cat([(d_x + expected)[:TOKENS], d_x[TOKENS:]])
    inverse = (x.square().mean(-1) + EPS).rsqrt()
    copy = np.full((ROOM, WIDTH), 7.0) if stored else None
    norm_backward(d_out.numpy(), x.numpy(), weight.numpy(), inverse.numpy(), TOKENS, d_x.numpy(), copy)
    assert torch.allclose(d_x, expected, rtol=1e-11, atol=1e-13)
    if stored:
        assert (copy[:TOKENS] == d_x.numpy()[:TOKENS]).all()
        assert (copy[TOKENS:] == 7).all()


def test_bfloat16_is_rounded_once_in_either_direction():
    x, weight = drawn(TOKENS, WIDTH, dtype=torch.float32), drawn(WIDTH, seed=1, dtype=torch.float32)
    added, d_out = (drawn(TOKENS, WIDTH, seed=seed).to(torch.bfloat16) for seed in (2, 3))
    total, inverse = np.zeros((TOKENS, WIDTH), np.float32), np.zeros(TOKENS, np.float32)
    out = torch.zeros(TOKENS, WIDTH, dtype=torch.bfloat16)
    add_and_norm(x.numpy(), array(added), weight.numpy(), EPS, TOKENS, total, array(out), inverse)
    stream = (x + added.float()).requires_grad_()
    assert np.allclose(total, stream.detach(), rtol=1e-6)
    assert torch.allclose(out.float(), normed(stream, weight), rtol=2**-8, atol=0)

    d_x, copy = np.zeros((TOKENS, WIDTH), np.float32), torch.zeros(TOKENS, WIDTH, dtype=torch.bfloat16)
    norm_backward(array(d_out), total, weight.numpy(), inverse, TOKENS, d_x, array(copy))
    (expected,) = torch.autograd.grad(normed(stream, weight), stream, d_out.float())
    assert np.allclose(d_x, expected, rtol=1e-4, atol=1e-6)
    assert copy.equal(torch.from_numpy(d_x).to(torch.bfloat16))
