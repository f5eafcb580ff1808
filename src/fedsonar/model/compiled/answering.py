"""Greedy answers in a running batch: prompts that begin alike are read together, and a finished answer makes room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int

from fedsonar.data.template import TokenRow
from fedsonar.model.compiled.block import KEY, QUERY, VALUE
from fedsonar.model.compiled.kernels.products import padded
from fedsonar.model.compiled.kernels.recall import recall, remember
from fedsonar.model.compiled.linear import Adapters
from fedsonar.model.compiled.pack import Pack
from fedsonar.model.compiled.product import product
from fedsonar.model.compiled.room import BlockRoom, Room
from fedsonar.model.tree import TokenTree, common_prefix

if TYPE_CHECKING:
    from fedsonar.model.compiled.network import CompiledLlama

Prompt = tuple[int, ...]


@torch.no_grad()
def answer(
    network: CompiledLlama, adapter: Float[np.ndarray, "1 dim"], prompts: Sequence[Prompt], limit: int,
    stops: frozenset[int], together: int,
) -> list[list[int]]:  # fmt: skip
    """Greedy answers to sorted prompts, up to a stop token or `limit` tokens, in their order, in this thread."""
    answers: list[list[int]] = [[] for _ in prompts]
    room = max((len(prompt) for prompt in prompts), default=0) + limit
    running = _RunningBatch(network, Adapters(adapter), slots=min(together, len(prompts)), room=padded(room))
    waiting = list(range(len(prompts)))
    while waiting or len(running.rows):
        if waiting and 2 * len(running.rows) <= running.slots:
            count = running.slots - len(running.rows)
            admitted, waiting = waiting[:count], waiting[count:]
            running.admit(admitted, [prompts[i] for i in admitted])
        going = []
        for i, token in zip(running.rows, running.tokens.tolist(), strict=True):
            answers[i].append(token)
            going.append(token not in stops and len(answers[i]) < limit)
        running.keep(np.array(going, dtype=bool))
        running.step()
    return [found[:-1] if found and found[-1] in stops else found for found in answers]


class _RunningBatch:
    """Rows being answered, each with its keys and values in a slot."""

    def __init__(self, network: CompiledLlama, adapters: Adapters, *, slots: int, room: int) -> None:
        self.network, self.adapters, self.slots = network, adapters, slots
        widths = network.widths
        size, layers = network.blocks[0].size, len(network.blocks)
        numbers = np.float64 if widths.exact == torch.float64 else np.float32
        self.keys = np.zeros((layers, slots, widths.groups, size, room), numbers)
        self.values = np.zeros((layers, slots, widths.groups, room, size), numbers)
        self.free = list(range(slots))
        self.rows = np.zeros(0, np.int64)
        self.at = np.zeros(0, np.int64)
        """Each row's slot."""
        self.tokens = np.zeros(0, np.int64)
        self.lengths = np.zeros(0, np.int64)
        adapted = sorted({name for block in network.blocks for name in block.adapted})
        self.block_room = BlockRoom(padded(max(slots, 64)), widths, adapted, last=False)

    def admit(self, rows: Sequence[int], prompts: Sequence[Prompt]) -> None:
        """Reads sorted prompts into free slots, each with its first answer token."""
        network = self.network
        for start, end in _passes(prompts, network.pass_tokens):
            tree = TokenTree.of(
                [
                    TokenRow(str(row), prompt, (0,))
                    for row, prompt in zip(rows[start:end], prompts[start:end], strict=True)
                ]
            )
            pack = Pack.of([tree], np.zeros((1, 2), np.int64), [1.0])
            room = network.room(len(tree.ids))
            paths = [np.array(path) for path in tree.paths]
            slots = [self.free.pop() for _ in paths]

            def keep(
                layer: int,
                block: BlockRoom,
                paths: Sequence[Int[np.ndarray, "tokens"]] = paths,
                slots: Sequence[int] = slots,
            ) -> None:
                for path, slot in zip(paths, slots, strict=True):
                    remember(block.key.array, block.value.array, path, slot, self.keys[layer], self.values[layer])

            network.forward(pack, self.adapters, room, [room.passing] * len(network.blocks), keep)
            self.rows = np.append(self.rows, [int(name) for name in tree.names])
            self.at = np.append(self.at, slots)
            self.lengths = np.append(self.lengths, [len(path) for path in paths])
            self.tokens = np.append(self.tokens, self._next(room, len(pack.predicting.places))[pack.predictors])

    def keep(self, going: np.ndarray) -> None:
        """Goes on with some of the rows; the slots of the others become free."""
        self.free += self.at[~going].tolist()
        self.rows, self.at, self.tokens, self.lengths = (
            values[going] for values in (self.rows, self.at, self.tokens, self.lengths)
        )

    def step(self) -> None:
        """Reads every row's newest token, and finds the one after it."""
        count = len(self.rows)
        if not count:
            return
        network, room, mine = self.network, self.network.room(count), self.block_room
        segments = np.array([[0, count, 0, 0]])
        angles = network.angles(int(self.lengths.max()) + 1)
        mine.x.tensor[:count] = network.embedding[torch.from_numpy(self.tokens)]
        x, added = mine.x, None
        for layer, block in enumerate(network.blocks):
            block.read(x, added, count, mine)
            for name, rows in ((QUERY, mine.query), (KEY, mine.key), (VALUE, mine.value)):
                block.project(name, mine.normed, count, rows, mine, self.adapters, segments)
            block.turn(mine, self.lengths, self.lengths, angles)
            recall(
                mine.query.array, mine.key.array, mine.value.array, self.at, self.lengths, self.keys[layer],
                self.values[layer], mine.mixed.array,
            )  # fmt: skip
            block.finish(mine.x, count, segments, self.adapters, mine, room.added)
            x, added = mine.x_middle, room.added
        network.finish(x, room.added, count, room)
        self.tokens, self.lengths = self._next(room, count), self.lengths + 1

    def _next(self, room: Room, count: int) -> Int[np.ndarray, "rows"]:
        scores = product(room.states.tensor[:count], self.network.head.t())
        found: Int[np.ndarray, "rows"] = scores.argmax(-1).numpy()
        return found


def _passes(prompts: Sequence[Prompt], most: int) -> list[tuple[int, int]]:
    """Bounds of groups of sorted prompts whose trees hold at most so many tokens."""
    bounds, tokens, start = [], 0, 0
    before: Prompt = ()
    for place, prompt in enumerate(prompts):
        new = len(prompt) - common_prefix(before, prompt)
        if place > start and tokens + new > most:
            bounds.append((start, place))
            start, tokens, new = place, 0, len(prompt)
        tokens += new
        before = prompt
    return [*bounds, (start, len(prompts))] if prompts else []
