"""Flower's strategies as rules, beside our own."""

import sys

import pytest
import torch

from fedsonar.aggregate import FedAdam, FedAvg, FedAvgM, Krum, Median, MultiKrum, RoundContext, TrimmedMean
from fedsonar.aggregate.flower_strategy import FlowerStrategy
from fedsonar.testing import check_aggregator

PAIRS = {
    "FedAvg": (FlowerStrategy(), FedAvg()),
    "FedMedian": (FlowerStrategy(name="FedMedian"), Median()),
    "FedTrimmedAvg": (FlowerStrategy(name="FedTrimmedAvg", arguments={"beta": 0.2}), TrimmedMean(beta=0.2)),
    "Krum": (FlowerStrategy(name="Krum", arguments={"num_malicious_nodes": 2}), Krum(f=2)),
    "MultiKrum": (
        FlowerStrategy(name="MultiKrum", arguments={"num_malicious_nodes": 2, "num_nodes_to_select": 8}),
        MultiKrum(f=2, m=8),
    ),
}


def updates(seed):
    return torch.randn(10, 17, generator=torch.Generator().manual_seed(seed))


def rounds(rule, count):
    """The rule's steps in some rounds, with one state."""
    state = {}
    return torch.stack(
        [
            rule.aggregate(updates(r), RoundContext(r, range(10), torch.full((10,), 0.1), state=state))
            for r in range(1, count + 1)
        ]
    )


@pytest.mark.parametrize("name", PAIRS)
def test_strategies_equal_our_rules_where_conventions_agree(name):
    flower, ours = PAIRS[name]
    torch.testing.assert_close(rounds(flower, 2), rounds(ours, 2))


@pytest.mark.parametrize("name", PAIRS)
def test_strategies_keep_the_contract(name):
    check_aggregator(PAIRS[name][0])


def test_momentum_goes_on_from_the_state():
    flower = FlowerStrategy(name="FedAvgM", arguments={"server_momentum": 0.9, "server_learning_rate": 1.0})
    torch.testing.assert_close(rounds(flower, 4), rounds(FedAvgM(), 4))


def test_moments_go_on_from_the_state():
    found = rounds(FlowerStrategy(name="FedAdam", arguments={"eta": 0.01}), 6)
    # Flower corrects a bias that the paper does not, so the values differ; that moments grow over rounds does not.
    assert found.isfinite().all()
    alone = FlowerStrategy(name="FedAdam", arguments={"eta": 0.01}).aggregate(
        updates(6), RoundContext(6, range(10), torch.full((10,), 0.1))
    )
    assert not torch.allclose(found[5], alone)
    assert torch.nn.functional.cosine_similarity(found[0], rounds(FedAdam(), 1)[0], dim=0) > 0.6


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (FlowerStrategy(name="Kram"), "cannot make Kram"),
        (FlowerStrategy(name="Krum", arguments={"f": 1}), "cannot make Krum with {'f': 1}"),
    ],
)
def test_wrong_names_and_arguments_are_refused(rule, message):
    with pytest.raises(ValueError, match=message):
        rounds(rule, 1)


def test_without_flower_the_remedy_is_named(monkeypatch):
    for name in [*(name for name in sys.modules if name.startswith("flwr.")), "flwr"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=r"needs Flower.*pip install 'fedsonar\[flower\]'"):
        rounds(FlowerStrategy(), 1)


def test_half_precision():
    rows = updates(1).bfloat16()
    step = FlowerStrategy().aggregate(rows, RoundContext(1, range(10), torch.full((10,), 0.1)))
    assert step.dtype == torch.bfloat16
    assert torch.equal(step, rows.float().mean(0).bfloat16())
