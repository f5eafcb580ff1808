"""Rows as trees of tokens: what a client's rows have in common is computed once, and nothing is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from fedsonar.data.template import TokenRow

IGNORED = -100
"""The label of a place that no loss counts, as in PyTorch."""
TREE_TOKENS = 256
"""A tree in a square mask takes in further rows up to so many tokens: its attention grows with their square."""


@dataclass(slots=True)
class TokenTree:
    """Rows merged where they begin alike, in depth-first order: a token attends to its ancestors and to itself.

    Rows with one prefix, an instruction say, share its nodes; the last token of a row predicts nothing and has none.

    Args:
        ids: The token of each node.
        depths: How many ancestors each node has: its position in its row.
        ends: One past the last node below each node, so that j is an ancestor of i when ``j <= i < ends[j]``.
        names: The rows' ids, in the order in which they lie.
        paths: Each row's nodes, from its first token.
        branches: Where each row's own nodes start, and the node before them or -1; rows without own nodes have none.
        predictors: The node that predicts each response token, over all rows.
        labels: Those response tokens.
    """

    ids: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    paths: list[list[int]] = field(default_factory=list)
    branches: list[tuple[int, int]] = field(default_factory=list)
    predictors: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, rows: Sequence[TokenRow]) -> TokenTree:
        """The tree of some rows."""
        tree = cls()
        previous: tuple[int, ...] = ()
        path: list[int] = []  # the node at each depth of the previous row
        for tokens, row in sorted(((row.prompt + row.response[:-1], row) for row in rows), key=lambda pair: pair[0]):
            shared = common_prefix(previous, tokens)
            for node in path[shared:]:
                tree.ends[node] = len(tree.ids)
            del path[shared:]
            if len(tokens) > shared:
                tree.branches.append((len(tree.ids), path[-1] if path else -1))
            path += range(len(tree.ids), len(tree.ids) + len(tokens) - shared)
            tree.ids += tokens[shared:]
            tree.depths += range(shared, len(tokens))
            tree.ends += [0] * (len(tokens) - shared)
            tree.names.append(row.id)
            tree.paths.append(path.copy())
            tree.predictors += path[len(row.prompt) - 1 :]
            tree.labels += row.response
            previous = tokens
        for node in path:
            tree.ends[node] = len(tree.ids)
        return tree


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two rows have in common at their beginning."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def in_order(rows: Sequence[TokenRow]) -> Iterator[tuple[TokenRow, int]]:
    """The rows sorted by prompt, each with its number of tokens behind what it has in common with the one before."""
    before: tuple[int, ...] = ()
    for row in sorted(rows, key=lambda row: row.prompt):
        yield row, row.length - common_prefix(before, row.prompt)
        before = row.prompt


def rows_together(rows: Sequence[TokenRow], most: int) -> list[list[TokenRow]]:
    """Rows in groups for a tree each: of up to `most` tokens, or as long as rows have most in common."""
    groups: list[list[TokenRow]] = []
    tokens = 0
    for row, new in in_order(rows):
        if groups and (tokens + new <= most or 2 * new <= row.length):
            groups[-1].append(row)
            tokens += new
        else:
            groups.append([row])
            tokens = row.length
    return groups


def tokens_per_pass(device: torch.device) -> int:
    """Padded tokens of a pass that suit a device: on a processor as many as keep their activations in its cache."""
    return 1024 if device.type == "cpu" else 16384


def side_by_side(sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """The places of things in batches of similar size, each padded to at most `most` in all, or one thing alone."""
    ranked = sorted(range(len(sizes)), key=lambda place: -sizes[place])
    start = 0
    while start < len(ranked):
        fit = max(1, most // max(1, sizes[ranked[start]]))
        left = len(ranked) - start
        width = -(-left // -(-left // fit))  # as many batches as it takes, evened out
        yield ranked[start : start + width]
        start += width


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Trees side by side, one a sequence.

    Args:
        ids: Tokens; padding behind a tree attends to itself alone.
        positions: Each token's position in its row.
        ends: As in `TokenTree`.
        at: Where response tokens are predicted.
        labels: The response tokens predicted there, `IGNORED` where there is none.
    """

    ids: Int[Tensor, "sequences length"]
    positions: Int[Tensor, "sequences length"]
    ends: Int[Tensor, "sequences length"]
    at: Int[Tensor, "sequences predictions"]
    labels: Int[Tensor, "sequences predictions"]

    def visible(self) -> Bool[Tensor, "sequences length length"]:
        """Which tokens (last axis) each token attends to."""
        places = torch.arange(self.ids.shape[1], device=self.ids.device)
        return (places <= places[:, None]) & (places[:, None] < self.ends[:, None, :])

    def to(self, device: torch.device) -> PackedBatch:
        """The same batch on a device."""
        return PackedBatch(*(t.to(device) for t in (self.ids, self.positions, self.ends, self.at, self.labels)))


def lay_out(trees: Sequence[TokenTree], pad: int, *, multiple: int = 1) -> PackedBatch:
    """One batch of the trees, padded to the longest, and to a multiple of so many tokens."""
    length = -(-max(1, *(len(tree.ids) for tree in trees)) // multiple) * multiple
    predictions = max(1, *(len(tree.labels) for tree in trees))
    ids = np.full((len(trees), length), pad)
    positions = np.zeros_like(ids)
    ends = np.broadcast_to(np.arange(1, length + 1), ids.shape).copy()
    at = np.zeros((len(trees), predictions), dtype=ids.dtype)
    labels = np.full_like(at, IGNORED)
    for place, tree in enumerate(trees):
        count, asked = len(tree.ids), len(tree.labels)
        ids[place, :count], positions[place, :count], ends[place, :count] = tree.ids, tree.depths, tree.ends
        at[place, :asked], labels[place, :asked] = tree.predictors, tree.labels
    return PackedBatch(*(torch.from_numpy(array) for array in (ids, positions, ends, at, labels)))
