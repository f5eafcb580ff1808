"""Rows as trees of tokens."""

from fedsonar.data.template import TokenRow
from fedsonar.model.tree import IGNORED, TokenTree, lay_out, rows_together, side_by_side


def test_rows_that_begin_alike_share_their_nodes():
    tree = TokenTree.of([TokenRow("b", (1, 2, 5), (6, 9)), TokenRow("a", (1, 2), (3, 4, 9))])
    assert tree.names == ["a", "b"]
    assert tree.ids == [1, 2, 3, 4, 5, 6]  # no node for the last token of a row: it predicts nothing
    assert tree.depths == [0, 1, 2, 3, 2, 3]
    assert tree.ends == [6, 6, 4, 4, 6, 6]
    assert tree.branches == [(0, -1), (4, 1)]
    assert tree.paths == [[0, 1, 2, 3], [0, 1, 4, 5]]
    assert list(zip(tree.predictors, tree.labels, strict=True)) == [(1, 3), (2, 4), (3, 9), (4, 6), (5, 9)]


def test_a_row_within_another_and_a_row_twice():
    tree = TokenTree.of([TokenRow("a", (1, 2), (9,)), TokenRow("b", (1, 2, 3), (9,)), TokenRow("c", (1, 2), (8,))])
    assert tree.ids == [1, 2, 3]
    assert sorted(zip(tree.predictors, tree.labels, strict=True)) == [(1, 8), (1, 9), (2, 9)]


def test_a_token_sees_its_own_row_and_nothing_else():
    batch = lay_out([TokenTree.of([TokenRow("a", (1, 2), (3, 9)), TokenRow("b", (1, 4), (5, 9))])], 0, multiple=4)
    assert batch.ids.tolist() == [[1, 2, 3, 4, 5, 0, 0, 0]]
    seen = batch.visible()[0].int().tolist()
    assert seen[2] == [1, 1, 1, 0, 0, 0, 0, 0]
    assert seen[4] == [1, 0, 0, 1, 1, 0, 0, 0]
    assert seen[6] == [0, 0, 0, 0, 0, 0, 1, 0]  # padding sees itself, so that its softmax is defined
    assert batch.at.tolist() == [[1, 2, 3, 4]]
    assert batch.labels.tolist() == [[3, 9, 5, 9]]


def test_what_no_loss_counts_is_marked():
    trees = [TokenTree.of([TokenRow("a", (1,), (2, 3))]), TokenTree.of([TokenRow("b", (1,), (2,))])]
    assert lay_out(trees, 0).labels.tolist() == [[2, 3], [2, IGNORED]]


def test_long_rows_stay_apart_unless_they_have_most_in_common():
    def row(name, *tokens):
        return TokenRow(name, tokens, (9,))

    long = tuple(range(100, 340))
    groups = rows_together(
        [row("a", *long, 1), row("b", *long, 2), row("c", 7, *long), row("d", 8, 1), row("e", 8, 2)], 256
    )
    assert sorted(sorted(r.id for r in group) for group in groups) == [["a", "b"], ["c", "d", "e"]]
    assert len(rows_together([row("a", 1, *long), row("b", 2, *long)], 256)) == 2


def test_batches_hold_everything_once_within_their_size():
    sizes = [10, 300, 12, 8, 11, 9]
    batches = list(side_by_side(sizes, 40))
    assert sorted(place for batch in batches for place in batch) == list(range(6))
    assert batches[0] == [1]  # larger than a batch, so alone
    assert all(len(batch) * max(sizes[i] for i in batch) <= 40 for batch in batches[1:])
    assert [len(batch) for batch in batches[1:]] == [3, 2]
