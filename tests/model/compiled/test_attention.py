"""Attention in trees against a softmax with a mask, which is built from the rows' own paths."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from fedsonar.data.template import TokenRow
from fedsonar.model.compiled.kernels.attention import attend, attend_backward, trace
from fedsonar.model.compiled.kernels.numbers import array
from fedsonar.model.compiled.pack import Pack
from fedsonar.model.tree import TokenTree

SHAPES = [(2, 2, 6), (4, 2, 16), (6, 2, 21), (3, 1, 33)]
"""Heads, groups and size."""


def pack_of(trees):
    return Pack.of(trees, np.zeros((len(trees), 2), np.int64), [1.0] * len(trees))


def grove():
    """Trees of rows with common beginnings, of one long row, of rows within each other, and of a single token."""
    draw = np.random.default_rng(0)

    def tokens(count):
        return tuple(draw.integers(0, 50, count).tolist())

    start, fork = tokens(21), tokens(4)
    return [
        TokenTree.of(
            [TokenRow(str(n), (*start, *fork[: n % 5], *tokens(n)), tokens(1 + n % 4)) for n in (1, 17, 3, 40, 9, 4)]
        ),
        TokenTree.of([TokenRow("long", tokens(50), tokens(20))]),
        TokenTree.of(
            [TokenRow("in", (1, 2), (3, 9)), TokenRow("around", (1, 2), (3, 4, 5, 9)),
             TokenRow("twice", (1, 2), (3, 4, 5, 9)), TokenRow("apart", (6,), (9,))]
        ),
        TokenTree.of([TokenRow("short", (7,), (9,))]),
    ]  # fmt: skip


def seen_by(trees):
    """Whether each token (first axis) attends to each other: if some row holds both, the other not after it."""
    total = sum(len(tree.ids) for tree in trees)
    seen, start = torch.zeros(total, total, dtype=torch.bool), 0
    for tree in trees:
        for path in tree.paths:
            for depth, node in enumerate(path):
                seen[start + node, [start + other for other in path[: depth + 1]]] = True
        start += len(tree.ids)
    return seen


def reference(query, key, value, seen, size):
    """Vaswani et al., 2017, equation 1, of scaled queries."""
    query, key, value = (x.unflatten(1, (-1, size)).transpose(0, 1) for x in (query, key, value))
    share = len(query) // len(key)
    key, value = key.repeat_interleave(share, 0), value.repeat_interleave(share, 0)
    scores = (query @ key.transpose(1, 2)).masked_fill(~seen, -torch.inf)
    return (torch.softmax(scores, -1) @ value).transpose(0, 1).flatten(1)


def drawn(queries, tokens, heads, groups, size, dtype=torch.float64):
    """Queries, keys, values and the result's gradient."""
    draw = torch.Generator().manual_seed(1)
    shapes = [(queries, heads * size), (tokens, groups * size), (tokens, groups * size), (queries, heads * size)]
    return [torch.randn(*shape, generator=draw, dtype=torch.float64).to(dtype) for shape in shapes]


def found_by_kernels(pack, queries, size, query, key, value, d_out):
    """Result and gradients; those of keys and values are added to ones."""
    exact = torch.promote_types(query.dtype, torch.float32)
    out = torch.full_like(query, 7)
    marks = torch.zeros(len(query), 2 * query.shape[1] // size, dtype=exact).numpy()
    attend(
        array(query), array(key), array(value), queries.chains, queries.positions, size, pack.longest, array(out), marks
    )
    d_query, d_key, d_value = (torch.ones_like(x, dtype=exact) for x in (query, key, value))
    attend_backward(
        array(d_out), array(query), array(key), array(value), array(out), marks, queries.chains, queries.positions,
        size, pack.longest, d_query.numpy(), d_key.numpy(), d_value.numpy(),
    )  # fmt: skip
    return out, d_query, d_key - 1, d_value - 1


def check(trees, heads, groups, size, *, last):
    pack = pack_of(trees)
    queries = pack.queries_of(last=last)
    query, key, value, d_out = drawn(len(queries.places), len(pack.ids), heads, groups, size)
    leaves = [x.clone().requires_grad_() for x in (query, key, value)]
    expected = reference(*leaves, seen_by(trees)[queries.places], size)
    gradients = torch.autograd.grad(expected, leaves, d_out)
    found, *found_gradients = found_by_kernels(pack, queries, size, query, key, value, d_out)
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-12)
    for one, other in zip(found_gradients, gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(("heads", "groups", "size"), SHAPES)
@pytest.mark.parametrize("last", [False, True])
def test_attention_is_a_softmax_over_each_token_s_own_row(heads, groups, size, last):
    check(grove(), heads, groups, size, last=last)


rows = st.tuples(
    st.lists(st.integers(1, 2), min_size=1, max_size=6), st.lists(st.integers(1, 2), min_size=1, max_size=4)
)


@given(groups=st.lists(st.lists(rows, min_size=1, max_size=6), min_size=1, max_size=3), last=st.booleans())
@settings(max_examples=40)
def test_attention_in_any_trees(groups, last):
    """Of two tokens only, so that rows often begin alike."""
    trees = [
        TokenTree.of([TokenRow(str(i), tuple(prompt), tuple(response)) for i, (prompt, response) in enumerate(group)])
        for group in groups
    ]
    check(trees, 2, 1, 3, last=last)


def test_a_chain_leads_back_to_the_beginning_of_its_row():
    trees = grove()
    pack, seen = pack_of(trees), seen_by(trees)
    path = np.zeros(pack.longest, np.int64)
    for chain, (_, end, *_) in enumerate(pack.everywhere.chains):
        count = trace(pack.everywhere.chains, chain, path)
        assert path[:count].tolist() == seen[end - 1].nonzero()[:, 0].tolist()


def test_scores_of_any_size_leave_shares_finite():
    """One key draws everything to itself, and what a query must not see would draw more."""
    trees = [TokenTree.of([TokenRow("a", (1, 2, 3, 4), (9,)), TokenRow("b", (1, 2, 3, 5, 6), (9,))])]
    pack = pack_of(trees)
    for dtype, rtol in ((torch.float32, 1e-4), (torch.float64, 1e-9)):
        query, key, value, d_out = drawn(6, 6, 1, 1, 4, dtype)
        query, key = query.abs(), torch.linspace(0, 50, 6, dtype=dtype)[:, None] * torch.ones(6, 4, dtype=dtype)
        leaves = [x.clone().requires_grad_() for x in (query, key, value)]
        expected = reference(*leaves, seen_by(trees), 4)
        gradients = torch.autograd.grad(expected, leaves, d_out)
        for one, other in zip(
            found_by_kernels(pack, pack.everywhere, 4, query, key, value, d_out), (expected, *gradients), strict=True
        ):
            assert torch.allclose(one, other, rtol=rtol, atol=1e-4 if dtype == torch.float32 else 1e-9)


@pytest.mark.parametrize("last", [False, True])
def test_bfloat16_is_rounded_once_forward_and_never_in_gradients(last):
    trees, size = grove(), 16
    pack = pack_of(trees)
    queries = pack.queries_of(last=last)
    query, key, value, d_out = drawn(len(queries.places), len(pack.ids), 4, 2, size, torch.bfloat16)
    leaves = [x.float().requires_grad_() for x in (query, key, value)]
    expected = reference(*leaves, seen_by(trees)[queries.places], size)
    gradients = torch.autograd.grad(expected, leaves, d_out.float())
    found, *found_gradients = found_by_kernels(pack, queries, size, query, key, value, d_out)
    assert torch.allclose(found.float(), expected, rtol=2**-8, atol=1e-4)
    for one, other in zip(found_gradients, gradients, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 1e-2 * other.norm()  # the result that they read was rounded


def test_missing_queries_of_a_group_get_no_share_of_what_the_group_before_left():
    """Scores near -10^4: a share that is wrongly computed from them is e^10^4."""
    pack = pack_of([TokenTree.of([TokenRow("twenty", tuple(range(20)), (9,))])])
    query, key, value, d_out = drawn(20, 20, 1, 1, 16)
    query, key = query.abs() + 30, -key.abs() - 30
    _, d_query, d_key, d_value = found_by_kernels(pack, pack.everywhere, 16, query, key, value, d_out)
    leaves = [x.requires_grad_() for x in (query, key, value)]
    reference(*leaves, seen_by([TokenTree.of([TokenRow("twenty", tuple(range(20)), (9,))])]), 16).backward(d_out)
    for gradient, leaf in zip((d_query, d_key, d_value), leaves, strict=True):
        assert torch.allclose(gradient, leaf.grad, atol=1e-9)
