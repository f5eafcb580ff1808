"""The compiled path through models of Llama's layout on processors: no padding, no autograd, threads side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from threading import local
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.compiling import Lanes, shared_out
from fedsonar.data.template import TokenRow
from fedsonar.model.block import looks_like_llama
from fedsonar.model.compiled.answering import answer
from fedsonar.model.compiled.block import GATE, KEY, QUERY, Angles, CompiledBlock
from fedsonar.model.compiled.kernels.loss import response_losses
from fedsonar.model.compiled.kernels.norm import add_and_norm, norm_backward
from fedsonar.model.compiled.kernels.numbers import array
from fedsonar.model.compiled.linear import Adapters
from fedsonar.model.compiled.pack import Pack
from fedsonar.model.compiled.product import product
from fedsonar.model.compiled.room import BlockRoom, Room, Rows, Widths
from fedsonar.model.foreign import PreTrainedModel
from fedsonar.model.layout import Layout
from fedsonar.model.network import Network, apart, numbered
from fedsonar.model.pieces import wide
from fedsonar.model.stack import AdapterStack
from fedsonar.model.tree import TokenTree, in_order, rows_together

if TYPE_CHECKING:
    from fedsonar.model.skeleton import Skeleton

_TYPES = (torch.float32, torch.float64, torch.bfloat16)


class CompiledLlama(Network):
    """A model of Llama's layout on a processor, block by block on its own weights.

    The clients' trees of a step are dealt out to as many lanes as PyTorch may use threads; a lane takes its trees in
    passes of about `pass_tokens`, forward and backward, in memory that it keeps. Adapters, their gradients, the
    residual stream, norms, softmax and losses are in float32 whatever the type of the frozen weights.

    Args:
        model: Frozen base model; see `fits`.
        layout: The adapters' layout in it.
    """

    pass_tokens = 1024
    least_work = 256
    """Fewest tokens of a lane, about: with fewer its products are too small, and PyTorch's own threads do better."""

    def __init__(self, model: PreTrainedModel | Skeleton, layout: Layout) -> None:
        super().__init__(model, layout)
        inner: Any = model.model
        sites = {site.name: site for site in layout.sites}
        count = len(inner.layers)
        self.blocks = [
            CompiledBlock(module, f"model.layers.{number}.", layout, sites, last=number == count - 1)
            for number, module in enumerate(inner.layers)
        ]
        self.first = min(number for number, block in enumerate(self.blocks) if block.adapted)
        self.embedding: Tensor = inner.embed_tokens.weight
        self.head: Tensor = _output_layer(model).weight
        self.norm = inner.norm.weight.to(wide(model.dtype)).numpy(), inner.norm.variance_epsilon
        linears, size = self.blocks[0].linears, self.blocks[0].size
        queries, keys = len(linears[QUERY].weight), len(linears[KEY].weight)
        self.widths = Widths(
            hidden=self.head.shape[1], queries=queries, keys=keys, inner=len(linears[GATE].weight),
            heads=queries // size, vocabulary=len(self.head), groups=keys // size, rank=layout.rank, dtype=model.dtype,
        )  # fmt: skip
        blocks = sum(linear.weight.numel() for block in self.blocks for linear in block.linears.values())
        self.response_cost = self.head.numel() / blocks
        """The work of predicting a token, in that of reading one."""
        self.lanes = Lanes()
        self._local = local()
        self._angles: Angles | None = None

    @staticmethod
    def fits(model: PreTrainedModel | Skeleton) -> bool:
        """Whether the model looks like Llama and lies where kernels can read it."""
        return (
            looks_like_llama(model)
            and model.device.type == "cpu"
            and model.dtype in _TYPES
            and getattr(_output_layer(model), "bias", None) is None
            and not _changes_with_length(model)
        )

    def add_gradients(
        self, stack: AdapterStack, batches: Sequence[Sequence[TokenRow]], *, pass_tokens: int = 0
    ) -> Float[Tensor, "clients"]:
        """Each client's loss, its gradient added to the stack; see `Network.add_gradients`."""
        most = pass_tokens or self.pass_tokens
        rows = [(client, row, new) for client, batch in enumerate(batches) for row, new in in_order(batch)]
        responses = [sum(len(row.response) for row in batch) for batch in batches]
        costs = [new + self.response_cost * len(row.response) for _, row, new in rows]
        shares = shared_out(costs, min(self.lanes.count, max(1, int(sum(costs)) // self.least_work)))
        grad, dim = stack.grad.numpy(), stack.layout.dim

        def train(share: range) -> tuple[list[tuple[int, float]], int | None, np.ndarray, int]:
            clients, own, _ = zip(*rows[share.start : share.stop], strict=True)
            # The lane before may be adding to the gradient of this lane's first client.
            common = clients[0] if share.start and rows[share.start - 1][0] == clients[0] else None
            rest = np.zeros(dim, grad.dtype)
            adapters = Adapters(stack.adapters.numpy(), grad, rest)
            trees = [
                (client, TokenTree.of(group))
                for client, places in groupby(range(len(own)), clients.__getitem__)
                for group in rows_together([own[place] for place in places], most)
            ]
            losses: list[tuple[int, float]] = []
            for some in _passes(trees, most):
                owners = [client for client, _ in some]
                places = np.array([(client, -1 if client == common else client) for client in owners])
                pack = Pack.of([tree for _, tree in some], places, [1 / responses[client] for client in owners])
                losses += zip(owners, self._train(pack, adapters).tolist(), strict=True)
            return losses, common, rest, sum(len(tree.ids) for _, tree in trees)

        totals = stack.adapters.new_zeros(len(batches))
        for losses, common, rest, positions in self.lanes.each(train, shares):
            self.positions += positions
            if common is not None:
                grad[common] += rest
            for client, loss in losses:
                totals[client] += loss
        return totals

    @torch.no_grad()
    def states(self, adapter: Float[Tensor, "dim"] | None, rows: Sequence[TokenRow]) -> list[Float[Tensor, "_ width"]]:
        """Each row's states; see `Network.states`."""
        if not rows:
            return []
        exact = wide(self.model.dtype)
        values = torch.zeros(self.layout.dim) if adapter is None else adapter
        adapters = Adapters(values.to(exact)[None].numpy())
        groups = rows_together(numbered(rows), self.pass_tokens)
        trees = [TokenTree.of(group) for group in groups]
        shares = shared_out([len(tree.ids) for tree in trees], min(self.lanes.count, len(trees)))

        def look(share: range) -> dict[int, Tensor]:
            found: dict[int, Tensor] = {}
            for some in _passes([(0, tree) for tree in trees[share.start : share.stop]], self.pass_tokens):
                pack = Pack.of([tree for _, tree in some], np.zeros((len(some), 2), np.int64), [1.0] * len(some))
                room = self.room(len(pack.ids))
                self.forward(pack, adapters, room, [room.passing] * len(self.blocks))
                states = room.states.tensor.index_select(0, torch.from_numpy(pack.predictors))
                parts = torch.split(states, [len(tree.labels) for _, tree in some])
                for (_, tree), part in zip(some, parts, strict=True):
                    found |= apart(tree, part, rows)
            return found

        together: dict[int, Tensor] = {}
        for found in self.lanes.each(look, shares):
            together |= found
        return [together[place] for place in range(len(rows))]

    def on(self, layout: Layout) -> CompiledLlama:
        """The same for another layout; see `Network.on`."""
        return CompiledLlama(self.model, layout)

    @torch.no_grad()
    def _train(self, pack: Pack, adapters: Adapters) -> Float[np.ndarray, "trees"]:
        """The weighted losses of a pack's trees; their gradients are added to those of the adapters."""
        room = self.room(len(pack.ids))
        rooms = [room.passing] * self.first + room.blocks
        angles = self.angles(pack.longest)
        self.forward(pack, adapters, room, rooms)
        losses = self._losses(pack, room)
        for number in reversed(range(self.first, len(self.blocks))):
            self.blocks[number].backward(pack, angles, adapters, rooms[number], room, first=number == self.first)
        return np.bincount(pack.owners, losses * pack.weights, len(pack.segments))

    def _losses(self, pack: Pack, room: Room) -> Float[np.ndarray, "responses"]:
        """The losses of the response tokens; sets ``room.d_x`` to the gradient of the last block's output."""
        asked, count = len(pack.predicting.places), len(pack.labels)
        losses = np.empty(count, room.x.array.dtype)
        room.d_normed.tensor[:asked].zero_()
        step = room.scores_at_once
        for start in range(0, count, step):
            some = slice(start, min(start + step, count))
            predictors = torch.from_numpy(pack.predictors[some])
            scores = room.scores(len(predictors))
            product(room.states.tensor.index_select(0, predictors), self.head.t(), out=scores)
            response_losses(array(scores), pack.labels[some], pack.weights[some], losses[some])
            room.d_normed.tensor.index_add_(0, predictors, product(scores, self.head))
        room.d_x.tensor[:asked].zero_()
        norm_backward(
            room.d_normed.array, room.x.array, self.norm[0], room.inverse, asked, room.d_x.array, room.copied_x
        )
        return losses

    def forward(
        self, pack: Pack, adapters: Adapters, room: Room, rooms: Sequence[BlockRoom],
        after: Callable[[int, BlockRoom], object] = lambda *_: None,
    ) -> None:  # fmt: skip
        """Sets ``room.states`` to what the output layer reads where something is predicted.

        Args:
            pack: The tokens.
            adapters: Of the clients.
            room: Memory of the pass.
            rooms: Memory of each block; the same one for several where there is no backward pass.
            after: Told each block's number and room when it is done.
        """
        angles = self.angles(pack.longest)
        x, added = rooms[0].x, None
        torch.index_select(self.embedding, 0, torch.from_numpy(pack.ids), out=room.added.tensor[: len(pack.ids)])
        x.tensor[: len(pack.ids)] = room.added.tensor[: len(pack.ids)]
        for number, (block, mine) in enumerate(zip(self.blocks, rooms, strict=True)):
            block.forward(x, added, pack, angles, adapters, mine, room.added)
            x, added = mine.x_middle, room.added
            after(number, mine)
        self.finish(x, room.added, len(pack.predicting.places), room)

    def finish(self, x: Rows, added: Rows, count: int, room: Room) -> None:
        """The last norm: sets ``room.states``."""
        add_and_norm(x.array, added.array, *self.norm, count, room.x.array, room.states.array, room.inverse)

    def room(self, tokens: int) -> Room:
        """This thread's memory for passes of at least so many tokens."""
        room: Room | None = getattr(self._local, "room", None)
        if room is None or room.tokens < tokens:
            adapted = [block.adapted for block in self.blocks[self.first :]]
            self._local.room = room = Room(-(-tokens // 64) * 64, self.widths, adapted)
        return room

    def angles(self, positions: int) -> Angles:
        """The rotary embedding's cosines and sines for at least so many positions, from the model's own."""
        angles = self._angles
        if angles is None or len(angles[0]) < positions:
            inner: Any = self.model.get_submodule("model")
            tables = inner.rotary_emb(
                self.embedding.new_zeros((), dtype=wide(self.model.dtype)), torch.arange(2 * positions)[None]
            )
            cos, sin = (table[0, :, : table.shape[-1] // 2].contiguous().numpy() for table in tables)
            self._angles = angles = cos, sin
        return angles

    def answers(
        self, adapter: Float[Tensor, "dim"], prompts: Sequence[Sequence[int]], *, limit: int, stops: frozenset[int],
        together: int = 128,
    ) -> list[list[int]]:  # fmt: skip
        """Greedy answers to the prompts; see `Network.answers`."""
        values = adapter.to(wide(self.model.dtype))[None].numpy()
        order = sorted(range(len(prompts)), key=lambda i: tuple(prompts[i]))
        lanes = min(self.lanes.count, together)
        shares = [[order[place] for place in share] for share in shared_out([1] * len(order), lanes)]

        def ask(share: list[int]) -> list[list[int]]:
            return answer(self, values, [tuple(prompts[i]) for i in share], limit, stops, max(1, together // lanes))

        answers: list[list[int]] = [[] for _ in prompts]
        for share, found in zip(shares, self.lanes.each(ask, shares), strict=True):
            for i, tokens in zip(share, found, strict=True):
                answers[i] = tokens
        return answers


def _passes(trees: Sequence[tuple[int, TokenTree]], most: int) -> Iterator[list[tuple[int, TokenTree]]]:
    """The trees in order, in groups of about equally many tokens and at most `most`, unless a single one has more."""
    total = sum(len(tree.ids) for _, tree in trees)
    aim = total / -(-total // most)
    group: list[tuple[int, TokenTree]] = []
    tokens = 0
    for client, tree in trees:
        size = len(tree.ids)
        if group and (tokens + size / 2 > aim or tokens + size > most):
            yield group
            group, tokens = [], 0
        group.append((client, tree))
        tokens += size
    if group:
        yield group


def _output_layer(model: Any) -> Any:
    return model.get_output_embeddings()


def _changes_with_length(model: PreTrainedModel | Skeleton) -> bool:
    """Whether the rotary embedding of a position depends on how long the sequence is."""
    parameters: Any = getattr(model.config, "rope_parameters", None) or {}
    return parameters.get("rope_type") in ("dynamic", "longrope")
