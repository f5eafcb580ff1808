"""One decoder block of Llama's layout with an adapter for each sequence, on the weights of the model's own block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from fedsonar.model.pieces import adapted_linears, attend, gated_silu, rms_norm, rotate
from fedsonar.model.stack import Factors

_KEEP_SHARES = 2**22
"""Attention keeps its softmax up to so many numbers a layer; beyond that PyTorch's attention saves the memory."""

ATTENTION = tuple(f"self_attn.{x}_proj" for x in "qkvo")
MLP = tuple(f"mlp.{x}_proj" for x in ("gate", "up", "down"))


def looks_like_llama(model: Any) -> bool:
    """Whether the model's blocks have the parts that Llama's have; whether they compute the same is for a trial."""
    blocks = getattr(getattr(model, "model", None), "layers", None)
    if not isinstance(blocks, nn.ModuleList):
        return False
    names = {name for name, _ in blocks[0].named_modules()}
    others = {"", "self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}
    return (
        names - {"mlp.act_fn"} == {*ATTENTION, *MLP, *others} and getattr(model.config, "hidden_act", "silu") == "silu"
    )


class LlamaBlock:
    """A block of a model and the adapters in it.

    Args:
        module: The model's block.
        factors: The adapters of all sites of the model, one for each sequence, or one for all.
        prefix: The block's name in the model, with a dot behind.
        scale: alpha / r.
    """

    def __init__(self, module: Any, factors: Mapping[str, Factors], prefix: str, scale: float) -> None:
        self.module = module
        self.linears = {name: module.get_submodule(name) for name in (*ATTENTION, *MLP)}
        self.factors = {name: factors.get(prefix + name) for name in self.linears}
        self.scale = scale
        self.size: int = module.self_attn.head_dim

    def __call__(
        self,
        x: Float[Tensor, "sequences length width"],
        rotation: Rotation,
        bias: Float[Tensor, "sequences 1 length length"],
        at: Int[Tensor, "sequences predictions"] | None = None,
        kept: list[tuple[Tensor, Tensor]] | None = None,
    ) -> Float[Tensor, "sequences _ width"]:
        """The block's output.

        Args:
            x: Its input.
            rotation: Of the positions of `x`.
            bias: 0 where a token sees another, minus infinity elsewhere.
            at: Compute these places only: nothing behind a last block looks at others.
            kept: Takes in keys and values, (sequences, groups, length, size) each, for whoever goes on from here.
        """
        inputs = self.normed(x)
        names = ATTENTION[1:3] if at is not None else ATTENTION[:3]
        *query, key, value = self.heads(inputs, names)
        turned = rotation
        if at is not None:
            query = self.heads(_places(inputs, at), ATTENTION[:1])
            x, bias, turned = _places(x, at), _places(bias[:, 0], at)[:, None], rotation.at(at)
        key, value = self.keys(key, rotation), value.transpose(1, 2)
        if kept is not None:
            kept.append((key, value))
        keep_shares = x.device.type == "cpu" and bias.numel() * query[0].shape[2] <= _KEEP_SHARES
        return self.finish(x, attend(self.queries(query[0], turned), key, value, bias, keep_shares=keep_shares))

    def normed(self, x: Float[Tensor, "sequences length width"]) -> Float[Tensor, "sequences length width"]:
        """What the attention's projections read."""
        norm = self.module.input_layernorm
        return rms_norm(x, norm.weight, norm.variance_epsilon)

    def heads(self, inputs: Tensor, names: tuple[str, ...]) -> list[Tensor]:
        """Projections of `inputs`, each (sequences, length, heads, size)."""
        return [out.view(*out.shape[:-1], -1, self.size) for out in self._project(inputs, names)]

    def queries(self, query: Tensor, rotation: Rotation) -> Float[Tensor, "sequences heads length size"]:
        """Queries turned to their positions, and divided by the square root of their size."""
        root = self.size**-0.5
        return rotate(query, rotation.cos * root, rotation.sin * root)

    def keys(self, key: Tensor, rotation: Rotation) -> Float[Tensor, "sequences groups length size"]:
        """Keys turned to their positions."""
        return rotate(key, rotation.cos, rotation.sin)

    def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        """What follows the attention: its output projection and the feed-forward layer, each added to its input."""
        x = x + self._project(mixed, ATTENTION[3:])[0]
        norm = self.module.post_attention_layernorm
        gate, up = self._project(rms_norm(x, norm.weight, norm.variance_epsilon), MLP[:2])
        return x + self._project(gated_silu(gate, up), MLP[2:])[0]

    def _project(self, inputs: Tensor, names: tuple[str, ...]) -> tuple[Tensor, ...]:
        factors = [self.factors[name] for name in names]
        shared = any(pair is not None and len(pair[0]) != len(inputs) for pair in factors)
        grouped = inputs.reshape(1, -1, inputs.shape[-1]) if shared else inputs
        outs = adapted_linears(grouped, [self.linears[name] for name in names], factors, self.scale)
        return tuple(out.view(*inputs.shape[:-1], -1) for out in outs)


class Rotation:
    """The rotary embedding of some positions; the first half of `sin` is negative, as `rotate` wants it.

    Args:
        cos: Cosines, (sequences, 1, length, size).
        sin: Sines, likewise.
    """

    def __init__(self, cos: Tensor, sin: Tensor) -> None:
        self.cos = cos
        self.sin = sin

    @classmethod
    def of(cls, embedding: Any, x: Tensor, positions: Int[Tensor, "sequences length"]) -> Rotation:
        """From the model's own embedding, whatever its base frequency and scaling."""
        cos, sin = (table[:, None] for table in embedding(x, positions))
        half = sin.shape[-1] // 2
        return cls(cos, torch.cat((-sin[..., :half], sin[..., half:]), -1))

    def at(self, places: Int[Tensor, "sequences some"]) -> Rotation:
        """The rotation of some of the places."""
        return Rotation(*(_places(table[:, 0], places)[:, None] for table in (self.cos, self.sin)))


def _places(x: Tensor, at: Tensor) -> Tensor:
    """The vectors of each sequence at some places."""
    return x.gather(1, at[..., None].expand(-1, -1, x.shape[-1]))
