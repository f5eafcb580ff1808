"""AdamW for the adapters of many clients at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim.adamw import adamw

from fedsonar.engine.job import Training
from fedsonar.model import AdapterStack


class StackedAdamW:
    """AdamW for K adapters, each with its own clipping and learning rate; equals K optimisers of PyTorch's.

    Args:
        stack: The adapters and their gradients.
        training: The optimiser's options.
        mean: Zeros, which become the gradients' running means.
        square: Zeros, which become those of their squares.
        frozen: Parts of each adapter that stay as they are; clipping does not see their gradients.

    References:
        Loshchilov and Hutter, 2019, arXiv:1711.05101, algorithm 2.
    """

    def __init__(
        self, stack: AdapterStack, training: Training, mean: Float[Tensor, "clients dim"],
        square: Float[Tensor, "clients dim"], frozen: Sequence[slice] = (),
    ) -> None:  # fmt: skip
        self.stack, self.training = stack, training
        self.mean, self.square = mean, square
        self.frozen = [(part, stack.adapters[:, part].clone()) for part in frozen]
        self.steps = [torch.zeros((), device=stack.adapters.device) for _ in stack.adapters]

    @torch.no_grad()
    def step(self, rates: Sequence[float]) -> None:
        """Moves the first ``len(rates)`` adapters by their gradients at these learning rates, and clears them."""
        stack, options = self.stack, self.training
        grad = stack.grad[: len(rates)]
        for part, _ in self.frozen:
            grad[:, part] = 0
        norms = torch.linalg.vector_norm(grad, dim=1, keepdim=True)
        grad *= (options.max_grad_norm / (norms + 1e-6)).clamp(max=1.0)
        by_rate: dict[float, list[int]] = {}
        for place, rate in enumerate(rates):
            by_rate.setdefault(rate, []).append(place)
        for rate, places in by_rate.items():  # clients of equal size share a rate, and so one call
            adapters, grads, means, squares = (
                [matrix[place] for place in places] for matrix in (stack.adapters, stack.grad, self.mean, self.square)
            )
            adamw(
                adapters, grads, means, squares, [], [self.steps[place] for place in places], fused=True,
                amsgrad=False, maximize=False, lr=rate, beta1=options.beta1, beta2=options.beta2,
                weight_decay=options.weight_decay, eps=options.eps,
            )  # fmt: skip
        for part, values in self.frozen:  # weight decay moves them even without a gradient
            stack.adapters[:, part] = values
        grad.zero_()
