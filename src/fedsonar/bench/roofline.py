"""The machine's matrix-product peak, for the products that a model's blocks consist of."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from fedsonar.bench.shapes import Shape

Product = tuple[int, int, int]
"""Rows, inner width and columns of a matrix product."""


def block_products(shape: Shape, tokens: int) -> list[Product]:
    """The frozen matrix products of one block and one pass: each linear layer forward, and the gradient of its input.

    Args:
        shape: The model.
        tokens: Tokens in a pass.
    """
    return [(tokens, *sides) for width, out in shape.linears().values() for sides in ((width, out), (out, width))]


def peak_flops(
    products: Sequence[Product], *, dtype: torch.dtype, device: str, repeats: int = 5, seconds: float = 0.003
) -> float:
    """Operations a second that ``torch.mm`` reaches on these products, each as often as it is listed.

    Each product writes into the same memory again and again, and counts with the best of its repeats: an upper bound of
    what a network of these products can reach, with the threads that PyTorch may use now.

    Args:
        products: What to multiply.
        dtype: Type of factors and result.
        device: Where.
        repeats: Measurements of each product.
        seconds: Least time of one measurement; shorter products are repeated within it.
    """
    best = {product: _best_time(product, dtype, device, repeats, seconds) for product in set(products)}
    operations = sum(2 * rows * inner * columns for rows, inner, columns in products)
    return operations / sum(best[product] for product in products)


def _best_time(product: Product, dtype: torch.dtype, device: str, repeats: int, seconds: float) -> float:
    rows, inner, columns = product
    numbers = torch.Generator(device).manual_seed(0)

    def matrix(height: int, width: int) -> torch.Tensor:
        return torch.randn(height, width, generator=numbers, device=device).to(dtype)

    left, out = matrix(rows, inner), torch.empty(rows, columns, dtype=dtype, device=device)
    # A linear layer keeps its weights transposed for the forward product, and not for the backward one.
    return min(
        _time(left, right, out, repeats, seconds) for right in (matrix(columns, inner).T, matrix(inner, columns))
    )


def _time(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor, repeats: int, seconds: float) -> float:
    def run(times: int) -> float:
        began = time.perf_counter()
        for _ in range(times):
            torch.mm(left, right, out=out)
        if out.is_cuda:
            torch.cuda.synchronize()
        return (time.perf_counter() - began) / times

    run(1)  # the first product plans
    times = max(1, round(seconds / run(1)))
    return min(run(times) for _ in range(repeats))
