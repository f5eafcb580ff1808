"""Products with frozen weights, in float32 where a processor has no bfloat16 of its own."""

from __future__ import annotations

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor


@cache
def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16; of others than x86 PyTorch's own choice is trusted."""
    found = torch.cpu.get_capabilities()
    return found.get("architecture") != "x86_64" or bool(found.get("amx_bf16") or found.get("avx512_bf16"))


def product(
    left: Float[Tensor, "rows inner"], right: Float[Tensor, "inner columns"], *,
    plus: Float[Tensor, "*_"] | None = None, out: Float[Tensor, "rows columns"] | None = None,
) -> Float[Tensor, "rows columns"]:  # fmt: skip
    """The product of two matrices on a processor, with `plus` added where it is given.

    Without instructions for bfloat16, PyTorch's product of bfloat16 takes 7 to 21 times as long as one in float32. The
    factors are then widened for the one product, which adds up in float32 and rounds once, as the instructions do.
    """
    if left.dtype == torch.bfloat16 and not multiplies_bfloat16():
        exact = product(left.float(), right.float(), plus=None if plus is None else plus.float())
        return exact.to(left.dtype) if out is None else out.copy_(exact)
    return torch.mm(left, right, out=out) if plus is None else torch.addmm(plus, left, right, out=out)
