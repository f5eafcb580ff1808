"""Attention token by token, over what is kept, against attention in the whole row at once."""

import numpy as np
import pytest
import torch

from fedsonar.data.template import TokenRow
from fedsonar.model.compiled.kernels.attention import attend
from fedsonar.model.compiled.kernels.numbers import array
from fedsonar.model.compiled.kernels.products import padded
from fedsonar.model.compiled.kernels.recall import recall, remember
from fedsonar.model.compiled.pack import Pack
from fedsonar.model.tree import TokenTree

LENGTHS, KEPT = [37, 20, 31], [15, 1, 16]
"""Tokens of three rows, and how many of them a prompt holds; the others come one by one."""
SLOTS = np.array([2, 0, 3])


def whole(query, key, value, size):
    """Attention of one row, with every token a query."""
    count = len(query)
    pack = Pack.of([TokenTree.of([TokenRow("row", tuple(range(count)), (0,))])], np.zeros((1, 2), np.int64), [1.0])
    exact = torch.promote_types(query.dtype, torch.float32)
    out, marks = torch.zeros_like(query), torch.zeros(count, 2 * query.shape[1] // size, dtype=exact)
    queries = pack.everywhere
    attend(
        array(query), array(key), array(value), queries.chains, queries.positions, size, count, array(out), array(marks)
    )
    return out


@pytest.mark.parametrize(("heads", "groups", "size"), [(2, 2, 6), (6, 2, 16), (3, 1, 21)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.bfloat16, 2**-7)])
def test_steps_give_what_the_whole_row_gives(heads, groups, size, dtype, tolerance):
    draw = torch.Generator().manual_seed(0)
    numbers = np.float64 if dtype == torch.float64 else np.float32

    def drawn(count, width):
        return torch.randn(count, width, generator=draw, dtype=torch.float64).to(dtype)

    rows = [[drawn(n, heads * size), drawn(n, groups * size), drawn(n, groups * size)] for n in LENGTHS]
    expected = [whole(*row, size) for row in rows]

    room = padded(max(LENGTHS))
    keys = np.full((5, groups, size, room), 1e3, numbers)  # what other rows have left there
    values = np.full((5, groups, room, size), 1e3, numbers)
    for (_, key, value), kept, slot in zip(rows, KEPT, SLOTS, strict=True):
        path = np.random.default_rng(0).permutation(40)[:kept]  # tokens of a row lie apart in a tree
        scattered = [torch.zeros(40, groups * size, dtype=dtype).index_copy_(0, torch.tensor(path), x[:kept])
                     for x in (key, value)]  # fmt: skip
        remember(array(scattered[0]), array(scattered[1]), path, slot, keys, values)

    lengths = np.array(KEPT)
    while (going := lengths < LENGTHS).any():
        at = going.nonzero()[0]
        query, key, value = (torch.stack([rows[row][which][lengths[row]] for row in at.tolist()]) for which in range(3))
        out = torch.full_like(query, 7)
        recall(array(query), array(key), array(value), SLOTS[at], lengths[at], keys, values, array(out))
        for row, found in zip(at.tolist(), out, strict=True):
            assert torch.allclose(found, expected[row][lengths[row]], rtol=tolerance, atol=tolerance)
        lengths[at] += 1
    assert (keys[[1, 4]] == 1e3).all()  # slots of nobody
    assert (values[[1, 4]] == 1e3).all()
    for (_, key, value), count, slot in zip(rows, LENGTHS, SLOTS, strict=True):
        kept = torch.from_numpy(keys[slot, :, :, :count]).permute(2, 0, 1).flatten(1)
        assert kept.equal(key.to(kept.dtype))
        assert torch.from_numpy(values[slot, :, :count]).transpose(0, 1).flatten(1).equal(value.to(kept.dtype))
