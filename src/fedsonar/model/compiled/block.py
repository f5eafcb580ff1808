"""One decoder block of Llama's layout on packed trees: products by the library, all else by kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from fedsonar.model.block import ATTENTION, MLP
from fedsonar.model.compiled.kernels.attention import attend, attend_backward
from fedsonar.model.compiled.kernels.gated import gated_silu, gated_silu_backward
from fedsonar.model.compiled.kernels.norm import add_and_norm, norm_backward
from fedsonar.model.compiled.kernels.rotary import rotate
from fedsonar.model.compiled.linear import AdaptedLinear, Adapters, Segments
from fedsonar.model.compiled.pack import Pack
from fedsonar.model.compiled.room import BlockRoom, Room, Rows
from fedsonar.model.layout import Layout, Site
from fedsonar.model.pieces import wide

QUERY, KEY, VALUE, OUTPUT = ATTENTION
GATE, UP, DOWN = MLP
_STAGES = ((QUERY, KEY, VALUE), (OUTPUT,), (GATE, UP), (DOWN,))
"""In which order the layers depend on each other."""

Angles = tuple[Float[np.ndarray, "positions half"], Float[np.ndarray, "positions half"]]
"""Cosines and sines of the rotary embedding."""


class CompiledBlock:
    """A block of a model, on the weights of the model's own.

    The last block answers only where something is predicted; those places are its queries, all tokens elsewhere.

    Args:
        module: The model's block.
        prefix: Its name in the model, with a dot behind.
        layout: The adapters' layout.
        sites: Site name -> site.
        last: Whether it is the last block.
    """

    def __init__(self, module: Any, prefix: str, layout: Layout, sites: Mapping[str, Site], *, last: bool) -> None:
        self.linears = {
            name: AdaptedLinear(module.get_submodule(name), sites.get(prefix + name), layout)
            for name in (*ATTENTION, *MLP)
        }
        self.adapted = [name for name, linear in self.linears.items() if linear.site is not None]
        self.last = last
        self.size: int = module.self_attn.head_dim
        exact = wide(self.linears[QUERY].weight.dtype)
        self.norm, self.middle_norm = (
            (norm.weight.to(exact).numpy(), norm.variance_epsilon)
            for norm in (module.input_layernorm, module.post_attention_layernorm)
        )

    @property
    def lowest(self) -> int:
        """The first stage of the block that is adapted."""
        return min(number for number, names in enumerate(_STAGES) if set(names) & set(self.adapted))

    def forward(
        self, x: Rows, added: Rows | None, pack: Pack, angles: Angles, adapters: Adapters, room: BlockRoom, out: Rows
    ) -> None:
        """Sets `room`, and `out` to what the feed-forward layer adds to ``room.x_middle``.

        Args:
            x: The residual stream before `added`.
            added: What the feed-forward layer of the block before this one adds; None for the first.
            pack: The tokens.
            angles: Of the rotary embedding.
            adapters: Of the clients.
            room: For what the backward pass needs.
            out: May be `added`.
        """
        self.read(x, added, len(pack.ids), room)
        queries, inputs, stream = pack.queries_of(last=self.last), room.normed, room.x
        if self.last:
            places = torch.from_numpy(queries.places)
            inputs, stream = room.normed_asked, room.x_asked
            for source, some in ((room.normed, inputs), (room.x, stream)):
                torch.index_select(source.tensor, 0, places, out=some.tensor[: len(places)])
        self.project(QUERY, inputs, len(queries.places), room.query, room, adapters, queries.segments)
        for name, rows in ((KEY, room.key), (VALUE, room.value)):
            self.project(name, room.normed, len(pack.ids), rows, room, adapters, pack.segments)
        self.turn(room, queries.positions, pack.positions, angles)
        attend(
            room.query.array, room.key.array, room.value.array, queries.chains, queries.positions, self.size,
            pack.longest, room.mixed.array, room.marks,
        )  # fmt: skip
        self.finish(stream, len(queries.places), queries.segments, adapters, room, out)

    def read(self, x: Rows, added: Rows | None, count: int, room: BlockRoom) -> None:
        """Adds up the residual stream, and normalises it for the attention."""
        add_and_norm(
            x.array, None if added is None else added.array, *self.norm, count, room.x.array, room.normed.array,
            room.inverse,
        )  # fmt: skip

    def project(
        self, name: str, x: Rows, count: int, out: Rows, room: BlockRoom, adapters: Adapters, segments: Segments
    ) -> None:
        """One of the linear layers."""
        self.linears[name].forward(x, count, out, room.low.get(name), adapters, segments)

    def turn(
        self, room: BlockRoom, asked: Int[np.ndarray, "queries"], positions: Int[np.ndarray, "tokens"], angles: Angles
    ) -> None:
        """Turns queries and keys to their positions, and divides queries by the square root of their size."""
        rotate(room.query.array, asked, *angles, 1, self.size**-0.5, len(asked), room.query.array)
        rotate(room.key.array, positions, *angles, 1, 1.0, len(positions), room.key.array)

    def finish(self, x: Rows, count: int, segments: Segments, adapters: Adapters, room: BlockRoom, out: Rows) -> None:
        """What follows the attention: its output added to `x`, and the feed-forward layer."""
        self.project(OUTPUT, room.mixed, count, out, room, adapters, segments)
        add_and_norm(
            x.array, out.array, *self.middle_norm, count, room.x_middle.array, room.normed_middle.array,
            room.inverse_middle,
        )  # fmt: skip
        for name, rows in ((GATE, room.gate), (UP, room.up)):
            self.project(name, room.normed_middle, count, rows, room, adapters, segments)
        gated_silu(room.gate.array, room.up.array, count, room.active.array)
        self.project(DOWN, room.active, count, out, room, adapters, segments)

    def backward(
        self, pack: Pack, angles: Angles, adapters: Adapters, room: BlockRoom, shared: Room, *, first: bool
    ) -> None:
        """Turns ``shared.d_x``, the gradient of the block's output, into that of its input.

        Args:
            pack: As in `forward`.
            angles: As in `forward`.
            adapters: As in `forward`.
            room: As `forward` left it.
            shared: Memory of the pass.
            first: Whether nothing below this block is adapted: its input then gets no gradient.
        """
        queries = pack.queries_of(last=self.last)
        stop = self.lowest if first else -1
        done = self._feed_forward_backward(len(queries.places), queries.segments, adapters, room, shared, stop)
        if done:
            return
        d_mixed = None if stop == 1 else shared.d_mixed
        if d_mixed is not None:
            self.linears[OUTPUT].input_gradient(shared.stored_x, len(queries.places), d_mixed)
        self.linears[OUTPUT].adapter_gradient(
            shared.stored_x, room.mixed, room.low.get(OUTPUT), d_mixed, adapters, queries.segments
        )
        if d_mixed is None:
            return
        self._attention_backward(pack, angles, room, shared)
        self._projections_backward(pack, adapters, room, shared, needed=stop != 0)
        if stop != 0:
            norm_backward(
                shared.d_normed.array, room.x.array, self.norm[0], room.inverse, len(pack.ids), shared.d_x.array,
                shared.copied_x,
            )  # fmt: skip

    def _feed_forward_backward(
        self, count: int, segments: Segments, adapters: Adapters, room: BlockRoom, shared: Room, stop: int
    ) -> bool:
        """Back to the middle of the block; says whether everything adapted lies behind."""
        linears, low = self.linears, room.low
        d_active = None if stop == 3 else shared.d_active
        if d_active is not None:
            linears[DOWN].input_gradient(shared.stored_x, count, d_active)
        linears[DOWN].adapter_gradient(shared.stored_x, room.active, low.get(DOWN), d_active, adapters, segments)
        if d_active is None:
            return True
        gated_silu_backward(d_active.array, room.gate.array, room.up.array, count)
        d_normed = None if stop == 2 else shared.d_normed
        for name, d_out in ((GATE, room.gate), (UP, room.up)):
            if d_normed is not None:
                linears[name].input_gradient(d_out, count, d_normed, add=name == UP)
            linears[name].adapter_gradient(d_out, room.normed_middle, low.get(name), d_normed, adapters, segments)
        if d_normed is None:
            return True
        norm_backward(
            d_normed.array, room.x_middle.array, self.middle_norm[0], room.inverse_middle, count, shared.d_x.array,
            shared.copied_x,
        )  # fmt: skip
        return False

    def _attention_backward(self, pack: Pack, angles: Angles, room: BlockRoom, shared: Room) -> None:
        queries, tokens = pack.queries_of(last=self.last), len(pack.ids)
        shared.d_key.tensor[:tokens].zero_()
        shared.d_value.tensor[:tokens].zero_()
        attend_backward(
            shared.d_mixed.array, room.query.array, room.key.array, room.value.array, room.mixed.array, room.marks,
            queries.chains, queries.positions, self.size, pack.longest, shared.d_query.array, shared.d_key.array,
            shared.d_value.array,
        )  # fmt: skip
        asked = len(queries.places)
        rotate(shared.d_query.array, queries.positions, *angles, -1, self.size**-0.5, asked, shared.stored_query.array)
        rotate(shared.d_key.array, pack.positions, *angles, -1, 1.0, tokens, shared.stored_key.array)
        if shared.stored_value is not shared.d_value:
            shared.stored_value.tensor[:tokens].copy_(shared.d_value.tensor[:tokens])

    def _projections_backward(
        self, pack: Pack, adapters: Adapters, room: BlockRoom, shared: Room, *, needed: bool
    ) -> None:
        """Through queries, keys and values to what they read; behind the last block, to all tokens again."""
        queries, tokens = pack.queries_of(last=self.last), len(pack.ids)
        asked = len(queries.places)
        d_normed = shared.d_normed if needed else None
        d_asked = shared.d_asked if needed and self.last else d_normed
        inputs = room.normed_asked if self.last else room.normed
        for name, d_out, count, x, d_x, segments in (
            (KEY, shared.stored_key, tokens, room.normed, d_normed, pack.segments),
            (VALUE, shared.stored_value, tokens, room.normed, d_normed, pack.segments),
            (QUERY, shared.stored_query, asked, inputs, d_asked, queries.segments),
        ):
            linear = self.linears[name]
            if d_x is not None:
                linear.input_gradient(d_out, count, d_x, add=not (name == KEY or d_x is shared.d_asked))
            linear.adapter_gradient(d_out, x, room.low.get(name), d_x, adapters, segments)
        if self.last and needed:
            places = torch.from_numpy(queries.places)
            shared.d_normed.tensor.index_add_(0, places, shared.d_asked.tensor[:asked])
            spread = shared.d_x.tensor[:asked].clone()
            shared.d_x.tensor[:tokens].zero_()
            shared.d_x.tensor.index_copy_(0, places, spread)
