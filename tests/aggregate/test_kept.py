"""Weights of the kept clients: scaled to sum to 1, or refused."""

import pytest
import torch

from fedsonar.aggregate.kept import kept_weights


def test_weights_are_scaled(new_round):
    weights = kept_weights(new_round(3, weights=[0.5, 0.2, 0.3]), torch.tensor([False, True, True]))
    assert weights.tolist() == pytest.approx([0.0, 0.4, 0.6])
    assert weights.dtype == torch.float64


@pytest.mark.parametrize(("weights", "total"), [([0.0, 0.0, 1.0], "0"), ([-0.5, 1.0, 0.5], "0.5")])
def test_weights_of_nothing_or_less_are_refused(new_round, weights, total):
    with pytest.raises(ValueError, match=rf"kept clients \[10, 11\] .* a sum of {total} "):
        kept_weights(new_round(3, weights=weights), torch.tensor([True, True, False]))


def test_what_the_others_weigh_does_not_matter(new_round):
    context = new_round(2, weights=[-1.0, 0.5])
    assert kept_weights(context, torch.tensor([False, True])).tolist() == [0.0, 1.0]
