"""The pieces of a decoder block with hand-written gradients: fewer passes over memory, and what is frozen gets none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from fedsonar.model.stack import Factors


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type to sum and to optimise in: float32, or what is wider."""
    return torch.promote_types(dtype, torch.float32)


class _RMSNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        exact = x.to(wide(x.dtype), copy=True)
        norms = torch.linalg.vector_norm(exact, dim=-1, keepdim=True)
        inverse = norms.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        return exact.mul_(inverse).mul_(weight.to(exact.dtype)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, weight, inverse = ctx.saved_tensors
        exact = x.to(inverse.dtype)
        grad = grads[0].to(inverse.dtype) * weight.to(inverse.dtype)
        along = torch.linalg.vecdot(grad, exact).unsqueeze(-1).mul_(inverse.pow(3)).div_(-x.shape[-1])
        return grad.mul_(inverse).addcmul_(exact, along).to(x.dtype), None, None


def rms_norm(
    x: Float[Tensor, "*batch width"], weight: Float[Tensor, "width"], eps: float
) -> Float[Tensor, "*batch width"]:
    """``x / sqrt(mean(x^2) + eps) * weight`` with a frozen weight.

    References:
        Zhang and Sennrich, 2019, arXiv:1910.07467, equation 4.
    """
    result: Tensor = _RMSNorm.apply(x, weight, eps)  # type: ignore[no-untyped-call]
    return result


class _Rotation(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotated(x.transpose(1, 2), cos, sin)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        cos, sin = ctx.saved_tensors
        return _rotated(grads[0], cos, -sin).transpose(1, 2), None, None


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    turned = torch.mul(x, cos, out=torch.empty(x.shape, dtype=x.dtype, device=x.device))
    return turned.addcmul_(x.roll(x.shape[-1] // 2, -1), sin)


def rotate(
    x: Float[Tensor, "sequences length heads size"],
    cos: Float[Tensor, "sequences 1 length size"],
    sin: Float[Tensor, "sequences 1 length size"],
) -> Float[Tensor, "sequences heads length size"]:
    """Rotary position embedding; the first half of `sin` is negative, so that no half need be negated here.

    References:
        Su et al., 2021, arXiv:2104.09864, equation 34.
    """
    result: Tensor = _Rotation.apply(x, cos, sin)  # type: ignore[no-untyped-call]
    return result


class _Attention(Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        sequences, heads, asked, size = query.shape
        groups, length = sequences * key.shape[1], key.shape[2]
        q = query.reshape(groups, -1, size)  # the heads that share a key lie together
        k, v = key.reshape(groups, length, size), value.reshape(groups, length, size)
        scores = torch.bmm(q, k.transpose(1, 2))
        scores.view(sequences, heads, asked, length).add_(bias)
        shares = torch.softmax(scores, -1, out=scores)
        ctx.save_for_backward(q, k, v, shares)
        ctx.shapes = query.shape, key.shape
        return torch.bmm(shares, v).view(query.shape).transpose(1, 2).reshape(sequences, asked, heads * size)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        q, k, v, shares = ctx.saved_tensors
        shape, key_shape = ctx.shapes
        sequences, heads, asked, size = shape
        grad = grads[0].view(sequences, asked, heads, size).transpose(1, 2).reshape(q.shape)
        d_v = torch.bmm(shares.transpose(1, 2), grad)
        d_shares = torch.bmm(grad, v.transpose(1, 2))
        d_scores = torch._softmax_backward_data(d_shares, shares, -1, shares.dtype)
        d_k = torch.bmm(d_scores.transpose(1, 2), q).view(key_shape)
        return torch.bmm(d_scores, k).view(shape), d_k, d_v.view(key_shape), None


def blinding(visible: Bool[Tensor, "..."], dtype: torch.dtype) -> Float[Tensor, "..."]:
    """What attention adds to scores: 0 where a key is visible, minus infinity elsewhere."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, float("-inf"))


def attend(
    query: Float[Tensor, "sequences heads asked size"],
    key: Float[Tensor, "sequences groups length size"],
    value: Float[Tensor, "sequences groups length size"],
    bias: Float[Tensor, "sequences 1 asked length"],
    *,
    keep_shares: bool,
) -> Float[Tensor, "sequences asked width"]:
    """Attention of scaled queries, all heads side by side; heads of a group share a key.

    Args:
        query: Queries, already divided by the square root of their size.
        key: Keys.
        value: Values.
        bias: 0 where a query sees a key, minus infinity elsewhere.
        keep_shares: Keep the softmax for the backward pass: faster on short sequences and on processors; else PyTorch's
            attention, which needs no memory in the square of the length.

    References:
        Vaswani et al., 2017, arXiv:1706.03762, equation 1; Ainslie et al., 2023, arXiv:2305.13245.
    """
    if keep_shares:
        result: Tensor = _Attention.apply(query, key, value, bias)  # type: ignore[no-untyped-call]
        return result
    grouped = key.shape[1] < query.shape[1]
    out = functional.scaled_dot_product_attention(query, key, value, bias, scale=1.0, enable_gqa=grouped)
    return out.transpose(1, 2).flatten(2)


class _GatedSiLU(Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        active = functional.silu(gate)
        ctx.save_for_backward(gate, up, active)
        return active * up

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        gate, up, active = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grads[0] * up, gate), grads[0] * active


def gated_silu(gate: Float[Tensor, "*batch width"], up: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
    """``silu(gate) * up``.

    References:
        Shazeer, 2020, arXiv:2002.05202, equation 6.
    """
    result: Tensor = _GatedSiLU.apply(gate, up)  # type: ignore[no-untyped-call]
    return result


class _AdaptedLinears(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: float, linears: Sequence[nn.Linear], places: Sequence[int], *factors: Tensor
    ) -> tuple[Tensor, ...]:
        flat = x.view(-1, x.shape[-1])
        outs = [functional.linear(flat, linear.weight, linear.bias).view(*x.shape[:-1], -1) for linear in linears]
        downs, ups = factors[: len(places)], factors[len(places) :]
        ctx.ranks = [down.shape[1] for down in downs]
        low = down = None
        if places:
            down = torch.cat(downs, 1) * scale  # one product serves all, since they read the same input
            low = torch.bmm(x, down.transpose(1, 2))
            for place, up, part in zip(places, ups, torch.split(low, ctx.ranks, -1), strict=True):
                outs[place].baddbmm_(part, up.transpose(1, 2))
        ctx.save_for_backward(x, low, down, *ups)
        ctx.scale, ctx.places, ctx.weights = scale, places, [linear.weight for linear in linears]
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, low, down, *ups = ctx.saved_tensors
        d_x = None
        if ctx.needs_input_grad[0]:
            d_flat = torch.mm(grads[0].view(-1, grads[0].shape[-1]), ctx.weights[0])
            for grad, weight in zip(grads[1:], ctx.weights[1:], strict=True):
                d_flat.addmm_(grad.view(-1, grad.shape[-1]), weight)
            d_x = d_flat.view(x.shape)
        if not ctx.places:
            return d_x, None, None, None
        adapted = [grads[place] for place in ctx.places]
        lows = torch.split(low, ctx.ranks, -1)
        # Narrow times wide is the faster order; the transpose that it leaves to the end is of a small matrix.
        d_ups = [
            torch.bmm(part.transpose(1, 2), grad).transpose(1, 2) for part, grad in zip(lows, adapted, strict=True)
        ]
        d_low = torch.cat([torch.bmm(grad, up) for grad, up in zip(adapted, ups, strict=True)], -1)
        d_downs = (torch.bmm(d_low.transpose(1, 2), x) * ctx.scale).split(ctx.ranks, 1)
        if d_x is not None:
            d_x.baddbmm_(d_low, down)
        return d_x, None, None, None, *d_downs, *d_ups


def adapted_linears(
    x: Float[Tensor, "sequences length in"],
    linears: Sequence[nn.Linear],
    factors: Sequence[Factors | None],
    scale: float,
) -> tuple[Float[Tensor, "sequences length _"], ...]:
    """Frozen linear layers of one input, each with its sequence's own low-rank term: ``W x + scale B A x``.

    Args:
        x: Inputs; contiguous.
        linears: The frozen layers.
        factors: Each layer's factors, or None.
        scale: alpha / r.

    References:
        Hu et al., 2021, arXiv:2106.09685, equation 3.
    """
    places = [place for place, pair in enumerate(factors) if pair is not None]
    pairs = [pair for pair in factors if pair is not None]
    result: tuple[Tensor, ...] = _AdaptedLinears.apply(  # type: ignore[no-untyped-call]
        x, scale, linears, places, *(a for a, _ in pairs), *(b for _, b in pairs)
    )
    return result


class _ResponseLosses(Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, labels: Tensor) -> Tensor:
        scores = torch.mm(hidden, head.t()).to(wide(hidden.dtype))
        losses = torch.logsumexp(scores, -1)
        picked = scores.gather(1, labels[:, None])[:, 0]
        shares = scores.sub_(losses[:, None]).exp_()
        ctx.save_for_backward(shares, head, labels)
        ctx.dtype = hidden.dtype
        return losses - picked

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        shares, head, labels = ctx.saved_tensors
        d_scores = shares * grads[0][:, None]
        d_scores.scatter_add_(1, labels[:, None], -grads[0][:, None])
        return torch.mm(d_scores.to(ctx.dtype), head), None, None


def response_losses(
    hidden: Float[Tensor, "tokens width"], head: Float[Tensor, "vocabulary width"], labels: Int[Tensor, "tokens"]
) -> Float[Tensor, "tokens"]:
    """Cross-entropy of each label under the frozen output layer, in nats."""
    result: Tensor = _ResponseLosses.apply(hidden, head, labels)  # type: ignore[no-untyped-call]
    return result
