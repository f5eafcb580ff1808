"""Losses of response tokens against PyTorch's cross-entropy."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from fedsonar.model.compiled.kernels.loss import response_losses
from fedsonar.model.compiled.kernels.numbers import array

LABELS = torch.tensor([0, 18, 7, 7])  # first, last, and one twice
WEIGHTS = torch.tensor([0.5, 0.125, 1.0, 0.3], dtype=torch.float64)


def drawn(dtype):
    scores = 4 * torch.randn(4, 19, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scores[2] += 1000  # its exponentials alone would be infinite
    return scores.to(dtype)


def reference(scores):
    scores = scores.clone().requires_grad_()
    losses = cross_entropy(scores, LABELS, reduction="none")
    (grad,) = torch.autograd.grad((losses * WEIGHTS.to(losses.dtype)).sum(), scores)
    return losses.detach(), grad


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_losses_come_without_weights_and_gradients_with_them(dtype, tolerance):
    scores = drawn(dtype)
    expected, grad = reference(scores)
    losses = torch.zeros(4, dtype=dtype)
    response_losses(array(scores), LABELS.numpy(), WEIGHTS.numpy(), losses.numpy())
    assert torch.allclose(losses, expected, rtol=tolerance, atol=tolerance)
    assert torch.allclose(scores, grad, rtol=tolerance, atol=tolerance)


def test_rows_beyond_the_losses_are_left_alone():
    scores = drawn(torch.float64)
    rest = scores[2:].clone()
    response_losses(array(scores), LABELS.numpy()[:2], WEIGHTS.numpy()[:2], np.zeros(2))
    assert scores[2:].equal(rest)


def test_a_sure_prediction_costs_nothing_and_a_wrong_one_its_distance():
    scores = torch.full((2, 5), -100.0)
    scores[:, 3] = 100.0
    losses = np.zeros(2, np.float32)
    response_losses(array(scores), np.array([3, 1]), np.array([1.0, 0.5]), losses)
    assert losses.tolist() == [0, 200]
    assert torch.allclose(scores, torch.tensor([[0, 0, 0, 0, 0], [0, -0.5, 0, 0.5, 0]]), atol=1e-30)


def test_bfloat16_scores_give_exact_losses_and_gradients_rounded_once():
    scores = drawn(torch.bfloat16)
    expected, grad = reference(scores.float())
    losses = np.zeros(4, np.float32)
    response_losses(array(scores), LABELS.numpy(), WEIGHTS.numpy(), losses)
    assert np.allclose(losses, expected, rtol=1e-5, atol=1e-5)
    assert torch.allclose(scores.float(), grad, rtol=2**-8, atol=1e-6)
