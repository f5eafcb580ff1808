"""Many adapters of one layout, handled as one matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedsonar.model.layout import Layout

Factors = tuple[Tensor, Tensor]
"""The factors of one site for each of K adapters: A (K, rank, in) and B (K, out, rank)."""


class AdapterStack:
    """K adapters in one (K, dim) matrix with their gradients in another, so that an optimiser sees two tensors.

    Args:
        layout: Where each factor lies.
        adapters: Starting values, changed in place by whoever trains.
        grad: Zeros for the gradients; without, they are made.
    """

    def __init__(
        self, layout: Layout, adapters: Float[Tensor, "clients dim"], grad: Float[Tensor, "clients dim"] | None = None
    ) -> None:
        self.layout = layout
        self.adapters = adapters
        self.grad = torch.zeros_like(adapters) if grad is None else grad

    def take(self, clients: Int[Tensor, "slots"], dtype: torch.dtype) -> AdapterSlice:
        """The adapters of some clients, ready for a forward pass in `dtype`; a client may be named more than once."""
        chosen = self.adapters.index_select(0, clients).to(dtype)
        factors = {
            site.name: (a.detach().requires_grad_(), b.detach().requires_grad_())
            for site, a, b in self.layout.factors(chosen)
        }
        return AdapterSlice(self, clients, factors)


@dataclass(frozen=True, slots=True)
class AdapterSlice:
    """Some adapters of a stack in a forward pass.

    Args:
        stack: Where they come from.
        clients: Their places there.
        factors: Site name -> its factors, leaves of the gradient's graph.
    """

    stack: AdapterStack
    clients: Int[Tensor, "slots"]
    factors: dict[str, Factors]

    def backward(self, loss: Float[Tensor, ""]) -> None:
        """Adds the gradient of `loss` to the stack's."""
        leaves = [factor for pair in self.factors.values() for factor in pair]
        grad = self.stack.grad.new_empty(len(self.clients), self.stack.layout.dim)
        places = [place for _, a, b in self.stack.layout.factors(grad) for place in (a, b)]
        torch._foreach_copy_(places, torch.autograd.grad(loss, leaves))
        self.stack.grad.index_add_(0, self.clients, grad)


def alone(layout: Layout, adapter: Float[Tensor, "dim"], dtype: torch.dtype) -> dict[str, Factors]:
    """The factors of a single adapter, without gradients."""
    return {site.name: (a, b) for site, a, b in layout.factors(adapter[None].to(dtype))}
