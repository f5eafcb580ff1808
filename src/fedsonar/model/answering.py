"""Greedy answers in a running batch: prompts that begin alike are read together, and a finished answer makes room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor

from fedsonar.data.template import TokenRow
from fedsonar.model.block import ATTENTION
from fedsonar.model.pieces import blinding
from fedsonar.model.stack import Factors
from fedsonar.model.tree import TREE_TOKENS, TokenTree, lay_out, rows_together, side_by_side, tokens_per_pass

if TYPE_CHECKING:
    from fedsonar.model.lean import LeanLlama


@torch.inference_mode()
def answer(
    network: LeanLlama, factors: Mapping[str, Factors], prompts: Sequence[Sequence[int]], *, limit: int,
    stops: frozenset[int], together: int,
) -> list[list[int]]:  # fmt: skip
    """Greedy answers, up to a stop token or `limit` tokens, in the order of the prompts; see `Network.answers`."""
    answers: list[list[int]] = [[] for _ in prompts]
    waiting = sorted(range(len(prompts)), key=lambda i: tuple(prompts[i]), reverse=True)
    room = max((len(prompt) for prompt in prompts), default=0) + limit
    running = _RunningBatch(network, factors, slots=min(together, len(prompts)), room=room)
    while waiting or running.rows:
        if waiting and 2 * len(running.rows) <= running.slots:
            count = running.slots - len(running.rows)
            admitted, waiting = waiting[-count:], waiting[:-count]
            running.admit([(i, tuple(prompts[i])) for i in reversed(admitted)])
        tokens = running.tokens.tolist()
        for i, token in zip(running.rows, tokens, strict=True):
            answers[i].append(token)
        going = [token not in stops and len(answers[i]) < limit for i, token in zip(running.rows, tokens, strict=True)]
        running.drop(going)
        running.step()
    return [found[:-1] if found and found[-1] in stops else found for found in answers]


class _RunningBatch:
    """Rows being answered, each in a slot of the key and value caches; the slots in use are always the first."""

    def __init__(self, network: LeanLlama, factors: Mapping[str, Factors], *, slots: int, room: int) -> None:
        self.network = network
        self.blocks = network.blocks(factors)
        self.slots = slots
        model: Any = network.model
        self.head = model.get_output_embeddings()
        groups = [block.linears["self_attn.k_proj"].out_features // block.size for block in self.blocks]
        self.caches = [
            torch.zeros(2, slots, count, room, block.size, dtype=model.dtype, device=model.device)
            for count, block in zip(groups, self.blocks, strict=True)
        ]
        self.rows: list[int] = []
        self.tokens = torch.zeros(0, dtype=torch.long, device=model.device)
        self.lengths = torch.zeros(0, dtype=torch.long, device=model.device)

    def admit(self, prompts: Sequence[tuple[int, tuple[int, ...]]]) -> None:
        """Reads prompts, sorted, into free slots, each with its first answer token."""
        rows = [TokenRow(str(i), prompt, (0,)) for i, prompt in prompts]
        trees = [TokenTree.of(group) for group in rows_together(rows, TREE_TOKENS)]
        device = self.network.model.device
        for places in side_by_side([len(tree.ids) for tree in trees], tokens_per_pass(device)):
            part = [trees[place] for place in places]
            batch = lay_out(part, 0).to(device)
            kept: list[tuple[Tensor, Tensor]] = []
            hidden = self.network.through(self.blocks, batch, kept)
            # A row's keys lie where its path through the tree lies.
            paths = [(place, path) for place, tree in enumerate(part) for path in tree.paths]
            longest = max(len(path) for _, path in paths)
            length = batch.ids.shape[1]
            index = torch.tensor(
                [[place * length + node for node in path] + [0] * (longest - len(path)) for place, path in paths],
                device=device,
            )
            first = len(self.rows)
            for cache, pair in zip(self.caches, kept, strict=True):
                for store, states in zip(cache, pair, strict=True):
                    by_place = states.transpose(1, 2).flatten(0, 1)
                    store[first : first + len(paths), :, :longest] = by_place[index].transpose(1, 2)
            answered = torch.cat([hidden[place, : len(tree.paths)] for place, tree in enumerate(part)])
            self.tokens = torch.cat([self.tokens, self._next(answered)])
            self.lengths = torch.cat([self.lengths, torch.tensor([len(path) for _, path in paths], device=device)])
            self.rows += [int(name) for tree in part for name in tree.names]

    def drop(self, going: Sequence[bool]) -> None:
        """Frees the slots of rows that are answered, and moves the last rows into them."""
        # Slots that stay are the first of the new order; rows from behind fill the gaps.
        count = sum(going)
        gaps = [slot for slot in range(count) if not going[slot]]
        movers = [slot for slot in range(count, len(going)) if going[slot]]
        order = list(range(count))
        for gap, mover in zip(gaps, movers, strict=True):
            order[gap] = mover
        device = self.tokens.device
        if gaps:
            to, source = torch.tensor(gaps, device=device), torch.tensor(movers, device=device)
            longest = int(self.lengths.max())
            for cache in self.caches:
                cache[:, to, :, :longest] = cache[:, source, :, :longest]
        self.rows = [self.rows[slot] for slot in order]
        kept = torch.tensor(order, dtype=torch.long, device=device)
        self.tokens, self.lengths = self.tokens[kept], self.lengths[kept]

    def step(self) -> None:
        """Reads every row's newest token, and finds the one after it."""
        if not self.rows:
            return
        count, longest = len(self.rows), int(self.lengths.max()) + 1
        x, rotation = self.network.start(self.tokens[:, None], self.lengths[:, None])
        bias = blinding(torch.arange(longest, device=x.device) <= self.lengths[:, None], x.dtype)
        slots = torch.arange(count, device=x.device)
        for block, (keys, values) in zip(self.blocks, self.caches, strict=True):
            query, key, value = block.heads(block.normed(x), ATTENTION[:3])
            keys[slots, :, self.lengths] = block.keys(key, rotation)[:, :, 0]
            values[slots, :, self.lengths] = value[:, 0]
            x = block.finish(x, _look_back(block.queries(query, rotation), keys[:count], values[:count], bias))
        self.tokens, self.lengths = self._next(x[:, 0]), self.lengths + 1

    def _next(self, hidden: Tensor) -> Int[Tensor, "rows"]:
        return self.head(self.network.last_norm(hidden)).argmax(-1)  # type: ignore[no-any-return]


def _look_back(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Attention of one query a row over its cache: (rows, 1, width)."""
    rows, groups, room, size = keys.shape
    length = bias.shape[1]
    past = keys.view(rows * groups, room, size)[:, :length]
    scores = torch.bmm(query.reshape(rows * groups, -1, size), past.transpose(1, 2))
    shares = scores.view(rows, -1, length).add_(bias[:, None]).softmax(-1).view(scores.shape)
    return torch.bmm(shares, values.view(rows * groups, room, size)[:, :length]).view(rows, 1, -1)
