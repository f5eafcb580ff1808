"""Trees one after another, by hand."""

import numpy as np
import pytest

from fedsonar.data.template import TokenRow
from fedsonar.model.compiled.pack import Pack
from fedsonar.model.tree import TokenTree


@pytest.fixture
def pack():
    """Two trees: a row twice with two responses, and two rows that part after two tokens."""
    trees = [
        TokenTree.of([TokenRow("x", (7, 2), (8,)), TokenRow("y", (7, 2), (3,))]),
        TokenTree.of([TokenRow("a", (1, 2), (3, 4, 9)), TokenRow("b", (1, 2, 5), (6, 9))]),
    ]
    return Pack.of(trees, np.array([[5, 1], [3, 0]]), [0.5, 0.25])


def test_tokens_lie_one_after_another(pack):
    assert pack.ids.tolist() == [7, 2, 1, 2, 3, 4, 5, 6]
    assert pack.positions.tolist() == [0, 1, 0, 1, 2, 3, 2, 3]
    assert pack.longest == 4


def test_all_tokens_as_queries(pack):
    queries = pack.queries_of(last=False)
    assert queries.places.tolist() == list(range(8))
    assert queries.positions.tolist() == pack.positions.tolist()
    assert queries.segments.tolist() == pack.segments.tolist() == [[0, 2, 5, 1], [2, 8, 3, 0]]
    assert queries.chains.tolist() == [[0, 2, -1, 0, 0, 2], [2, 6, -1, 0, 2, 6], [6, 8, 3, 2, 6, 8]]


def test_the_tokens_that_predict_something_as_queries(pack):
    queries = pack.queries_of(last=True)
    assert queries.places.tolist() == [1, 3, 4, 5, 6, 7]
    assert queries.positions.tolist() == [1, 1, 2, 3, 2, 3]
    assert queries.segments.tolist() == [[0, 1, 5, 1], [1, 6, 3, 0]]
    assert queries.chains.tolist() == [[0, 2, -1, 0, 0, 1], [2, 6, -1, 0, 1, 4], [6, 8, 3, 2, 4, 6]]


def test_responses_know_their_predictor_weight_and_tree(pack):
    assert pack.predictors.tolist() == [0, 0, 1, 2, 3, 4, 5]
    assert pack.labels.tolist() == [8, 3, 3, 4, 9, 6, 9]
    assert pack.weights.tolist() == [0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25]
    assert pack.owners.tolist() == [0, 0, 1, 1, 1, 1, 1]


def test_a_chain_without_predictions_has_no_queries():
    trees = [TokenTree.of([TokenRow("a", (1, 2, 3), (9,)), TokenRow("b", (1, 2, 4, 5), (9,))])]
    chains = Pack.of(trees, np.zeros((1, 2), np.int64), [1.0]).predicting.chains
    assert chains.tolist() == [[0, 3, -1, 0, 0, 1], [3, 5, 1, 2, 1, 2]]
    trees.append(TokenTree.of([TokenRow("c", (6, 6), (9,))]))
    pack = Pack.of(trees, np.zeros((2, 2), np.int64), [1.0, 1.0])
    assert pack.predicting.places.tolist() == [2, 4, 6]
    assert pack.predicting.chains[2].tolist() == [5, 7, -1, 0, 2, 3]
