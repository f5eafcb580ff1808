"""Each client's low-rank term against PyTorch's gradients of the formula."""

import numpy as np
import pytest
import torch

from fedsonar.model.compiled.kernels.lowrank import add_low_rank, low_rank_backward
from fedsonar.model.compiled.kernels.numbers import array
from fedsonar.model.compiled.kernels.products import FEW, padded

INNER, OUTER, OFFSET, SCALE = 37, 21, 11, 0.7
TOKENS, ROOM, CLIENTS = 103, 108, 4
SEGMENTS = np.array([[0, 1, 2, 0], [1, 66, 0, 2], [66, 66, 3, 1], [66, 98, 2, 0], [98, 103, 1, -1]])
"""One token, over two tiles, none at all, one tile, less than one; client 2 comes twice, in one gradient; the last one
goes to the gradient that lies apart."""


def drawn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def case(rank):
    adapters = drawn(CLIENTS, OFFSET + rank * (INNER + OUTER) + 5, seed=0)
    return adapters, drawn(ROOM, INNER, seed=1), drawn(ROOM, OUTER, seed=2), drawn(ROOM, OUTER, seed=3)


def term(x, adapters, rank):
    """Hu et al., 2021, equation 3: scale B A x, segment by segment; 0 behind them."""
    out = x.new_zeros(ROOM, OUTER)
    middle = OFFSET + rank * INNER
    for first, end, client, _ in SEGMENTS.tolist():
        a = adapters[client, OFFSET:middle].view(rank, INNER)
        b = adapters[client, middle : middle + rank * OUTER].view(OUTER, rank)
        out[first:end] = SCALE * x[first:end] @ a.T @ b.T
    return out


def reference(x, adapters, d_out, rank):
    """The term, the gradient of x, and those of the adapters in the places of the gradients; that apart is the last."""
    x, adapters = x.clone().requires_grad_(), adapters.clone().requires_grad_()
    out = term(x, adapters, rank)
    d_x, d_adapters = torch.autograd.grad(out, (x, adapters), d_out)
    gradients = torch.zeros_like(adapters)
    for client, place in {(client, place) for _, _, client, place in SEGMENTS.tolist()}:
        gradients[place] += d_adapters[client]
    return out.detach(), d_x, gradients


@pytest.mark.parametrize("rank", [1, 4, 16, 19])
def test_forward_and_backward(rank):
    adapters, x, out, d_out = case(rank)
    expected, d_x_more, gradients_more = reference(x, adapters, d_out, rank)
    low, found = np.full((ROOM, padded(rank, FEW)), 7.0), out.clone()
    add_low_rank(array(x), adapters.numpy(), OFFSET, rank, SCALE, SEGMENTS, low, array(found))
    assert torch.allclose(found, out + expected, rtol=1e-11, atol=1e-11)
    assert found[TOKENS:].equal(out[TOKENS:])
    assert (low[TOKENS:] == 7).all()

    d_x, gradients = drawn(ROOM, INNER, seed=4), drawn(*adapters.shape, seed=5)
    for start, wanted in ((d_x, d_x.clone()), (d_x, None)):
        found = gradients.clone()
        low_rank_backward(
            array(d_out), array(x), low, adapters.numpy(), OFFSET, rank, SCALE, SEGMENTS, found[:-1].numpy(),
            found[-1].numpy(), None if wanted is None else array(wanted),
        )  # fmt: skip
        assert torch.allclose(found, gradients + gradients_more, rtol=1e-11, atol=1e-11)
        if wanted is not None:
            assert torch.allclose(wanted, start + d_x_more, rtol=1e-11, atol=1e-11)
            assert wanted[TOKENS:].equal(start[TOKENS:])
    assert gradients_more[:, :OFFSET].eq(0).all()  # what other sites own stays as it was
    assert found[:, :OFFSET].equal(gradients[:, :OFFSET])
    assert found[:, -5:].equal(gradients[:, -5:])


def test_bfloat16_streams_are_rounded_once_and_adapters_not_at_all():
    rank = 4
    adapters, x, out, d_out = case(rank)
    adapters = adapters.float()
    x, out, d_out = (values.to(torch.bfloat16) for values in (x, out, d_out))
    expected, d_x_more, gradients_expected = reference(x.float(), adapters, d_out.float(), rank)
    low, found = np.zeros((ROOM, padded(rank, FEW)), np.float32), out.clone()
    add_low_rank(array(x), adapters.numpy(), OFFSET, rank, SCALE, SEGMENTS, low, array(found))
    assert torch.allclose(found.float(), out.float() + expected, rtol=2**-8, atol=1e-4)

    start, gradients = drawn(ROOM, INNER, seed=4).to(torch.bfloat16), torch.zeros_like(adapters)
    d_x = start.clone()
    low_rank_backward(
        array(d_out), array(x), low, adapters.numpy(), OFFSET, rank, SCALE, SEGMENTS, gradients[:-1].numpy(),
        gradients[-1].numpy(), array(d_x),
    )  # fmt: skip
    assert torch.allclose(gradients, gradients_expected, rtol=1e-4, atol=1e-3)
    assert torch.allclose(d_x.float(), start.float() + d_x_more, rtol=2**-8, atol=1e-4)
