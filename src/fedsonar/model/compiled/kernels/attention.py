"""Causal attention in trees of tokens: over the pairs that exist, and no others."""

from __future__ import annotations

import numpy as np

from fedsonar.compiling import kernel
from fedsonar.model.compiled.kernels.numbers import exponential, load, put
from fedsonar.model.compiled.kernels.products import LANES, add_product, add_transposed_product, clear


@kernel
def trace(chains, chain, path):
    """Writes the tokens that a chain's last token attends to into `path`, and returns their number.

    Args:
        chains: First token, one past the last, the token before the first (or -1), and the depth of the first token:
            (chains, 4) and more columns.
        chain: Which chain.
        path: Room for the longest path.
    """
    depth = chains[chain, 3]
    count = depth + chains[chain, 1] - chains[chain, 0]
    place = count
    last = chains[chain, 1] - 1
    while place > 0:
        first = chains[chain, 0]
        for token in range(last, first - 1, -1):
            place -= 1
            path[place] = token
        last = chains[chain, 2]
        while place > 0 and chains[chain, 0] > last:
            chain -= 1
    return count


# Below, unsigned numbers spare the compiler the question whether an index counts from the end, and loops in place of
# slices spare it the counting of references: either keeps it from taking several numbers at a time.


@kernel
def _gather(source, path, length, first, rows):
    """Copies some columns of a path's tokens."""
    first, size = np.uint64(first), np.uint64(rows.shape[1])
    for j in range(length):
        token = np.uint64(path[j])
        for e in range(size):
            rows[j, e] = load(source[token, first + e])


@kernel
def _scatter(rows, path, length, first, target):
    """Adds rows to some columns of a path's tokens."""
    first, size = np.uint64(first), np.uint64(rows.shape[1])
    for j in range(length):
        token = np.uint64(path[j])
        for e in range(size):
            target[token, first + e] += rows[j, e]


@kernel
def _read(source, start, count, first, rows):
    """Copies some columns of up to `LANES` rows; those that are missing are 0."""
    start, first, size = np.uint64(start), np.uint64(first), np.uint64(rows.shape[1])
    for i in range(np.uint64(count)):
        for e in range(size):
            rows[i, e] = load(source[start + i, first + e])
    for i in range(count, LANES):
        for e in range(size):
            rows[i, e] = 0


@kernel
def _write(rows, start, count, first, target):
    """Copies up to `LANES` rows to some columns."""
    start, first = np.uint64(start), np.uint64(first)
    for i in range(np.uint64(count)):
        for e in range(np.uint64(rows.shape[1])):
            put(target, start + i, first + e, rows[i, e])


@kernel
def _sight(depths, start, count, last):
    """Sets the last key that each of up to `LANES` queries sees, and returns how many keys some query sees."""
    for i in range(LANES):
        last[i] = depths[start + min(i, count - 1)]
    return depths[start + count - 1] + 1


@kernel
def _turn(rows, across):
    """Transposes `LANES` rows."""
    for e in range(across.shape[0]):
        for i in range(LANES):
            across[e, i] = rows[i, e]


@kernel
def _softmax(scores, last, open_to_all, seen, most, inverse):
    """Turns scores into shares, a query a column: of key j where `last` allows j, else 0.

    Args:
        scores: (keys, `LANES`).
        last: The last key that each query sees, as wide numbers.
        open_to_all: How many keys every query sees.
        seen: How many keys some query sees.
        most: Takes each query's greatest score.
        inverse: Takes one over each query's sum of exponentials, after its greatest score is taken off.
    """
    for i in range(LANES):
        most[i] = scores[0, i]
        inverse[i] = 0
    for j in range(1, open_to_all):
        for i in range(LANES):
            most[i] = max(most[i], scores[j, i])
    for j in range(open_to_all, seen):
        key = most.dtype.type(j)
        for i in range(LANES):
            most[i] = max(most[i], scores[j, i] if key <= last[i] else most[i])
    for j in range(open_to_all):
        for i in range(LANES):
            share = exponential(scores[j, i] - most[i])
            scores[j, i] = share
            inverse[i] += share
    for j in range(open_to_all, seen):
        key = most.dtype.type(j)
        for i in range(LANES):
            share = exponential(scores[j, i] - most[i])
            share = share if key <= last[i] else share * 0
            scores[j, i] = share
            inverse[i] += share
    for i in range(LANES):
        inverse[i] = 1 / inverse[i]
    for j in range(seen):
        for i in range(LANES):
            scores[j, i] *= inverse[i]


@kernel
def _softmax_backward(scores, d_scores, last, open_to_all, seen, most, inverse, means):
    """Turns scores into shares and gradients of shares into gradients of scores; arguments as in `_softmax`."""
    for j in range(open_to_all):
        for i in range(LANES):
            share = exponential(scores[j, i] - most[i]) * inverse[i]
            scores[j, i] = share
            d_scores[j, i] = share * (d_scores[j, i] - means[i])
    for j in range(open_to_all, seen):
        key = means.dtype.type(j)
        for i in range(LANES):
            share = exponential(scores[j, i] - most[i]) * inverse[i]
            share = share if key <= last[i] else share * 0
            scores[j, i] = share
            d_scores[j, i] = share * (d_scores[j, i] - means[i])


@kernel
def attend(query, key, value, chains, depths, size, longest, out, marks):
    """Attention of scaled queries; heads of a group share a key.

    Args:
        query: (queries, heads * size), divided by the square root of the size.
        key: (tokens, groups * size).
        value: Likewise.
        chains: As in `trace`; further columns hold each chain's first query and one past its last.
        depths: How many tokens stand before each query's own, (queries,).
        size: Of a head.
        longest: Most tokens of a path.
        out: Takes the result, (queries, heads * size).
        marks: Takes each query's and head's greatest score and one over its sum, (queries, 2 * heads).

    References:
        Vaswani et al., 2017, arXiv:1706.03762, equation 1; Ainslie et al., 2023, arXiv:2305.13245.
    """
    groups, heads, wide = key.shape[1] // size, query.shape[1] // size, marks.dtype
    path, last = np.empty(longest, np.int64), np.empty(LANES, wide)
    keys, values, scores = (
        np.empty((longest, size), wide),
        np.empty((longest, size), wide),
        np.empty((longest, LANES), wide),
    )
    asked, asked_across = np.empty((LANES, size), wide), np.empty((size, LANES), wide)
    found, most, inverse = np.empty((LANES, size), wide), np.empty(LANES, wide), np.empty(LANES, wide)
    for chain in range(len(chains)):
        begin, end = chains[chain, 4], chains[chain, 5]
        if begin == end:
            continue
        length = trace(chains, chain, path)
        for group in range(groups):
            _gather(key, path, length, group * size, keys)
            _gather(value, path, length, group * size, values)
            for start in range(begin, end, LANES):
                count = min(LANES, end - start)
                seen = _sight(depths, start, count, last)
                for head in range(group * heads // groups, (group + 1) * heads // groups):
                    _read(query, start, count, head * size, asked)
                    _turn(asked, asked_across)
                    clear(scores, seen)
                    add_product(scores, keys, asked_across, seen, size, LANES)
                    _softmax(scores, last, depths[start] + 1, seen, most, inverse)
                    clear(found, LANES)
                    add_transposed_product(found, scores, values, LANES, seen, size)
                    _write(found, start, count, head * size, out)
                    for i in range(count):
                        marks[start + i, 2 * head], marks[start + i, 2 * head + 1] = most[i], inverse[i]


@kernel
def attend_backward(d_out, query, key, value, out, marks, chains, depths, size, longest, d_query, d_key, d_value):
    """Sets the gradient of the queries and adds to those of keys and values, all wide; arguments as in `attend`."""
    groups, heads, wide = key.shape[1] // size, query.shape[1] // size, marks.dtype
    path, last = np.empty(longest, np.int64), np.empty(LANES, wide)
    keys, values = np.empty((longest, size), wide), np.empty((longest, size), wide)
    d_keys, d_values = np.empty((longest, size), wide), np.empty((longest, size), wide)
    shares, d_scores = np.empty((longest, LANES), wide), np.empty((longest, LANES), wide)
    asked, found, d_found, d_asked = (
        np.empty((LANES, size), wide), np.empty((LANES, size), wide),
        np.empty((LANES, size), wide), np.empty((LANES, size), wide),
    )  # fmt: skip
    across = np.empty((size, LANES), wide)
    means, most, inverse = np.empty(LANES, wide), np.zeros(LANES, wide), np.zeros(LANES, wide)
    for chain in range(len(chains)):
        begin, end = chains[chain, 4], chains[chain, 5]
        if begin == end:
            continue
        length = trace(chains, chain, path)
        for group in range(groups):
            _gather(key, path, length, group * size, keys)
            _gather(value, path, length, group * size, values)
            clear(d_keys, length)
            clear(d_values, length)
            for start in range(begin, end, LANES):
                count = min(LANES, end - start)
                seen = _sight(depths, start, count, last)
                for head in range(group * heads // groups, (group + 1) * heads // groups):
                    _read(query, start, count, head * size, asked)
                    _read(d_out, start, count, head * size, d_found)
                    _read(out, start, count, head * size, found)
                    for i in range(LANES):
                        means[i] = 0
                        for e in range(size):
                            means[i] += d_found[i, e] * found[i, e]
                    for i in range(count):
                        most[i], inverse[i] = marks[start + i, 2 * head], marks[start + i, 2 * head + 1]
                    for i in range(count, LANES):  # nobody's: their scores are 0, and so must their shares be
                        most[i], inverse[i] = 0, 0
                    clear(shares, seen)
                    clear(d_scores, seen)
                    _turn(asked, across)
                    add_product(shares, keys, across, seen, size, LANES)
                    _turn(d_found, across)
                    add_product(d_scores, values, across, seen, size, LANES)
                    _softmax_backward(shares, d_scores, last, depths[start] + 1, seen, most, inverse, means)
                    clear(d_asked, LANES)
                    add_transposed_product(d_asked, d_scores, keys, LANES, seen, size)
                    add_product(d_values, shares, d_found, seen, LANES, size)
                    add_product(d_keys, d_scores, asked, seen, LANES, size)
                    _write(d_asked, start, count, head * size, d_query)
            _scatter(d_keys, path, length, group * size, d_key)
            _scatter(d_values, path, length, group * size, d_value)
