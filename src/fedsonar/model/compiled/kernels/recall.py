"""Attention of rows that are being answered: one new token each, over the keys and values kept of those before."""

from __future__ import annotations

import numpy as np

from fedsonar.compiling import kernel
from fedsonar.model.compiled.kernels.numbers import exponential, load, put
from fedsonar.model.compiled.kernels.products import LANES, add_product


@kernel
def remember(key, value, path, slot, keys, values):
    """Keeps the keys and values of a row's tokens.

    Args:
        key: Turned keys, (tokens, groups * size).
        value: Likewise.
        path: The row's tokens, from its first.
        slot: The row's place in what is kept.
        keys: Kept keys, (slots, groups, size, room), wide.
        values: Kept values, (slots, groups, room, size), wide.
    """
    size = np.uint64(keys.shape[2])
    for group in range(keys.shape[1]):
        kept_keys, kept_values, first = keys[slot, group], values[slot, group], np.uint64(group) * size
        for j in range(len(path)):
            token = np.uint64(path[j])
            for e in range(size):
                kept_keys[e, j] = load(key[token, first + e])
                kept_values[j, e] = load(value[token, first + e])


@kernel
def recall(query, key, value, slots, lengths, keys, values, out):
    """Keeps each row's newest key and value, and attends from its query to all that are kept of the row.

    Args:
        query: Turned queries, divided by the square root of their size, (rows, heads * size).
        key: Turned keys, (rows, groups * size).
        value: Likewise.
        slots: Each row's place in what is kept, (rows,).
        lengths: How many tokens were kept before, (rows,).
        keys: As in `remember`, with a `room` that is a multiple of `LANES`; so are `values`.
        out: Takes the result, (rows, heads * size).
    """
    groups, size, room = keys.shape[1], keys.shape[2], keys.shape[3]
    share = query.shape[1] // (groups * size)
    wide = keys.dtype
    asked, found, scores = np.empty((share, size), wide), np.empty((share, size), wide), np.empty((share, room), wide)
    for row in range(len(slots)):
        seen = lengths[row] + 1
        blocks = (seen + LANES - 1) // LANES * LANES
        for group in range(groups):
            kept_keys, kept_values = keys[slots[row], group], values[slots[row], group]
            first = np.uint64(group * size)
            for e in range(np.uint64(size)):
                kept_keys[e, seen - 1] = load(key[row, first + e])
                kept_values[seen - 1, e] = load(value[row, first + e])
            first = np.uint64(group * share * size)
            for head in range(np.uint64(share)):
                for e in range(np.uint64(size)):
                    asked[head, e] = load(query[row, first + head * np.uint64(size) + e])
                    found[head, e] = 0
                for j in range(blocks):
                    scores[head, j] = 0
            add_product(scores, asked, kept_keys, share, size, blocks)
            for head in range(share):
                most = scores[head, 0]
                for j in range(seen):
                    most = max(most, scores[head, j])
                total = most * 0
                for j in range(seen):
                    scores[head, j] = exponential(scores[head, j] - most)
                    total += scores[head, j]
                for j in range(seen):
                    scores[head, j] /= total
            add_product(found, scores, kept_values, share, seen, size)
            for head in range(np.uint64(share)):
                for e in range(np.uint64(size)):
                    put(out, row, first + head * np.uint64(size) + e, found[head, e])
