"""The gated activation against PyTorch's."""

import pytest
import torch
from torch.nn.functional import silu

from fedsonar.model.compiled.kernels.gated import gated_silu, gated_silu_backward
from fedsonar.model.compiled.kernels.numbers import array

TOKENS, ROOM, WIDTH = 5, 6, 21


def drawn(seed, dtype=torch.float64):
    return 3 * torch.randn(ROOM, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def reference(gate, up, d_out):
    gate, up = gate.clone().requires_grad_(), up.clone().requires_grad_()
    out = silu(gate) * up
    return out.detach(), *torch.autograd.grad(out, (gate, up), d_out)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_forward_and_backward(dtype, rtol):
    gate, up, d_out = (drawn(seed, dtype) for seed in range(3))
    gate[0, :4] = torch.tensor([0.0, 40.0, -40.0, 80.0])
    expected, d_gate, d_up = reference(gate, up, d_out)
    out = torch.full_like(gate, 7)
    gated_silu(array(gate), array(up), TOKENS, array(out))
    assert torch.allclose(out[:TOKENS], expected[:TOKENS], rtol=rtol, atol=rtol)
    assert (out[TOKENS:] == 7).all()
    rest = gate[TOKENS:].clone(), up[TOKENS:].clone()
    gated_silu_backward(array(d_out), array(gate), array(up), TOKENS)
    assert torch.allclose(gate[:TOKENS], d_gate[:TOKENS], rtol=rtol, atol=rtol)
    assert torch.allclose(up[:TOKENS], d_up[:TOKENS], rtol=rtol, atol=rtol)
    assert gate[TOKENS:].equal(rest[0])
    assert up[TOKENS:].equal(rest[1])


def test_a_gate_far_from_zero_is_open_or_shut():
    gate = torch.tensor([[-300.0, 300.0, -88.0, 88.0]])
    up = torch.tensor([[2.0, 2.0, 2.0, 2.0]])
    out = torch.empty_like(gate)
    gated_silu(array(gate), array(up), 1, array(out))
    assert torch.allclose(out, torch.tensor([[0.0, 600.0, 0.0, 176.0]]), rtol=1e-5, atol=1e-30)
    gated_silu_backward(array(torch.ones_like(gate)), array(gate), array(up), 1)
    assert torch.allclose(gate, torch.tensor([[0.0, 2.0, 0.0, 2.0]]), rtol=1e-5, atol=1e-30)
    assert torch.allclose(up, torch.tensor([[0.0, 300.0, 0.0, 88.0]]), rtol=1e-5, atol=1e-30)


def test_bfloat16_is_rounded_once():
    gate, up, d_out = (drawn(seed).to(torch.bfloat16) for seed in range(3))
    expected, d_gate, d_up = reference(gate.float(), up.float(), d_out.float())
    out = torch.zeros_like(gate)
    gated_silu(array(gate), array(up), ROOM, array(out))
    assert torch.allclose(out.float(), expected, rtol=2**-8, atol=1e-6)
    gated_silu_backward(array(d_out), array(gate), array(up), ROOM)
    assert torch.allclose(gate.float(), d_gate, rtol=2**-8, atol=1e-6)
    assert torch.allclose(up.float(), d_up, rtol=2**-8, atol=1e-6)
