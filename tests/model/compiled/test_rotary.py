"""Rotary embedding against the formula with whole vectors, as transformers has it."""

import numpy as np
import pytest
import torch

from fedsonar.model.compiled.kernels.numbers import array
from fedsonar.model.compiled.kernels.rotary import rotate

TOKENS, ROOM, HEADS = 6, 8, 3
POSITIONS = np.array([0, 4, 5, 2, 9, 4])


def angles(size, dtype=torch.float64):
    turns = torch.arange(10, dtype=torch.float64)[:, None] * 20.0 ** -torch.arange(0, 1, 2 / size, dtype=torch.float64)
    return turns.cos().to(dtype), turns.sin().to(dtype)


def turned(x, cos, sin):
    """Su et al., 2021, equation 34, with x's halves for its pairs: x cos + (-x2, x1) sin."""
    heads = x.unflatten(1, (HEADS, -1))
    one, two = heads.chunk(2, -1)
    both = [torch.cat([table, table], -1)[POSITIONS, None] for table in (cos, sin)]
    return (heads * both[0] + torch.cat([-two, one], -1) * both[1]).flatten(1)


def drawn(size, seed=0):
    return torch.randn(ROOM, HEADS * size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("size", [2, 6, 16])
@pytest.mark.parametrize("in_place", [False, True])
def test_forward(size, in_place):
    x, (cos, sin) = drawn(size), angles(size)
    expected = 0.3 * turned(x[:TOKENS], cos, sin)
    out = x.clone() if in_place else torch.full_like(x, 7)
    rest = out[TOKENS:].clone()
    rotate((out if in_place else x).numpy(), POSITIONS, cos.numpy(), sin.numpy(), 1, 0.3, TOKENS, out.numpy())
    assert torch.allclose(out[:TOKENS], expected, rtol=1e-12, atol=1e-14)
    assert out[TOKENS:].equal(rest)


@pytest.mark.parametrize("size", [2, 6, 16])
def test_turning_back_is_the_gradient(size):
    x, d_out, (cos, sin) = drawn(size)[:TOKENS].requires_grad_(), drawn(size, seed=1)[:TOKENS], angles(size)
    (expected,) = torch.autograd.grad(0.3 * turned(x, cos, sin), x, d_out)
    out = torch.zeros_like(d_out)
    rotate(d_out.numpy(), POSITIONS, cos.numpy(), sin.numpy(), -1, 0.3, TOKENS, out.numpy())
    assert torch.allclose(out, expected, rtol=1e-12, atol=1e-14)


def test_bfloat16_is_rounded_once_in_either_direction():
    x, (cos, sin) = drawn(16)[:TOKENS].to(torch.bfloat16), angles(16, torch.float32)
    expected = 0.3 * turned(x.float(), cos, sin)
    out = x.clone()
    rotate(array(out), POSITIONS, cos.numpy(), sin.numpy(), 1, 0.3, TOKENS, array(out))
    assert torch.allclose(out.float(), expected, rtol=2**-8, atol=1e-6)

    back = torch.zeros_like(out)  # from wide gradients to those that products take
    rotate(expected.numpy(), POSITIONS, cos.numpy(), sin.numpy(), -1, 1 / 0.3, TOKENS, array(back))
    assert torch.allclose(back.float(), x.float(), rtol=2**-8, atol=1e-6)
