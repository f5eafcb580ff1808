"""Chain: the weights that a rule sees, the shares that come back, state, root and order of the steps."""

from dataclasses import dataclass

import pytest
import torch

from fedsonar.aggregate import Aggregator, FedAvg, Krum, Median, MultiKrum
from fedsonar.aggregate.bucketing import Bucketing
from fedsonar.aggregate.centered_clipping import CenteredClipping
from fedsonar.aggregate.clipping import Clipping
from fedsonar.aggregate.fltrust import FLTrust
from fedsonar.aggregate.foolsgold import FoolsGold
from fedsonar.aggregate.nnm import NNM
from fedsonar.aggregate.pre_aggregator import Chain, PreAggregator
from fedsonar.testing import check_aggregator

SEEN = []  # what `Spy` was called with


@dataclass(frozen=True)
class Spy(Aggregator):
    """Notes what it sees and gives the first update all of the share."""

    def aggregate(self, updates_ND, context):
        SEEN.append((updates_ND, list(context.clients), context.weights.tolist()))
        context.record(torch.eye(len(updates_ND))[0])
        return updates_ND[0]


@dataclass(frozen=True)
class Mixed(PreAggregator):
    """Mixes by a matrix that is given."""

    parts: tuple[tuple[float, ...], ...]

    def prepare(self, updates_ND, context):
        parts_MN = torch.tensor(self.parts, dtype=torch.float64)
        return (parts_MN @ updates_ND.double()).to(updates_ND.dtype), parts_MN


@pytest.mark.parametrize(
    "chain",
    [
        Chain(steps=(), rule=Krum()),
        Chain(steps=(Clipping(), NNM(), Bucketing()), rule=Median()),
        Chain(steps=(Bucketing(), NNM()), rule=MultiKrum()),
        Chain(steps=(NNM(),), rule=CenteredClipping()),
        Chain(steps=(Clipping(),), rule=FoolsGold()),
        Chain(steps=(Clipping(),), rule=Chain(steps=(NNM(),), rule=Median())),
    ],
)
def test_chains_keep_the_contract(chain):
    check_aggregator(chain)


def test_without_steps_it_is_the_rule(new_round):
    rows, context, alone = torch.tensor([[0.0], [1.0], [2.0], [9.0]]), new_round(4), new_round(4)
    assert torch.equal(Chain(steps=(), rule=Krum()).aggregate(rows, context), Krum().aggregate(rows, alone))
    assert torch.equal(context.shares, alone.shares)


def test_a_mixed_update_weighs_what_its_clients_weigh(new_round):
    # Client 10 is in both mixed updates, 3/4 and 1/2 of them: its weight .5 is spread 3 to 2. Clients 11 and 12 are in
    # one each. Weights: .5 * 3/5 + .3 = .6 and .5 * 2/5 + .2 = .4.
    step = Mixed(((0.75, 0.25, 0.0), (0.5, 0.0, 0.5)))
    context = new_round(3, weights=[0.5, 0.3, 0.2])
    result = Chain(steps=(step,), rule=Spy()).aggregate(torch.tensor([[4.0], [8.0], [0.0]]), context)
    rows, clients, weights = SEEN.pop()
    assert rows.tolist() == [[5.0], [2.0]]
    assert clients == [0, 1]
    assert weights == pytest.approx([0.6, 0.4])
    # The rule took the first mixed update alone: three quarters of client 10 and a quarter of client 11.
    assert result.tolist() == [5.0]
    assert context.shares.tolist() == [0.75, 0.25, 0.0]
    assert context.weights.tolist() == pytest.approx([0.5, 0.3, 0.2])


def test_shares_go_back_through_all_steps_in_their_order(new_round):
    first = Mixed(((0.5, 0.5, 0.0, 0.0), (0.0, 0.0, 0.5, 0.5), (0.0, 0.0, 0.0, 1.0)))
    second = Mixed(((0.0, 0.25, 0.75), (1.0, 0.0, 0.0)))
    context = new_round(4)
    result = Chain(steps=(first, second), rule=Spy()).aggregate(torch.tensor([[1.0], [3.0], [4.0], [6.0]]), context)
    # The first step gives 2, 5 and 6; the second .25 * 5 + .75 * 6 = 5.75 and 2.
    assert SEEN.pop()[0].tolist() == [[5.75], [2.0]]
    assert result.tolist() == [5.75]
    assert context.shares.tolist() == [0.0, 0.0, 0.125, 0.875]


def test_as_many_updates_keep_their_clients(new_round):
    Chain(steps=(Clipping(), NNM(f=0)), rule=Spy()).aggregate(torch.ones(3, 2), new_round(3))
    assert SEEN.pop()[1] == [10, 11, 12]


def test_bucketed_means_are_weighed_so_that_the_weighted_mean_of_equal_weights_stays(aggregate):
    # 7 clients in buckets of 2, 2, 2 and 1: plain weights of 1/4 would favour the last client.
    rows = torch.randn(7, 5, generator=torch.Generator().manual_seed(3))
    result = aggregate(Chain(steps=(Bucketing(),), rule=FedAvg()), rows)
    torch.testing.assert_close(result, rows.mean(dim=0))


def test_no_shares_from_a_rule_that_records_none(new_round):
    context = new_round(4)
    Chain(steps=(NNM(),), rule=Median()).aggregate(torch.ones(4, 2), context)
    assert context.shares is None


def test_the_rules_state_is_the_rounds(new_round):
    chain, context = Chain(steps=(Clipping(c=4.0),), rule=CenteredClipping(L=1, tau=1.0)), new_round(2)
    assert [chain.aggregate(torch.full((2, 1), 9.0), context).item() for _ in range(3)] == [1.0, 2.0, 3.0]
    assert context.state["centered_clipping.centre"].tolist() == [3.0]


def test_the_root_and_its_rows_are_the_rules(new_round):
    chain, context = Chain(steps=(Clipping(),), rule=FLTrust(root_rows=7)), new_round(2)
    assert chain.root_rows == 7
    assert Chain(steps=(), rule=Krum()).root_rows == 0
    context.root = torch.tensor([0.0, 1.0])
    assert chain.aggregate(torch.tensor([[0.0, 3.0], [0.0, -5.0]]), context).tolist() == [0.0, 1.0]
    assert context.shares.tolist() == [1.0, 0.0]


def test_mixing_before_a_trimmed_rule_keeps_far_updates_out(aggregate):
    rows = torch.cat([torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.full((2, 3), 1e20)])
    result = aggregate(Chain(steps=(NNM(),), rule=Krum()), rows)
    torch.testing.assert_close(result, rows[:8].mean(dim=0))


def test_requirements_are_those_of_what_is_left(aggregate):
    # 8 clients suffice for Krum with f=2, the 4 buckets do not.
    aggregate(Krum(f=2), torch.zeros(8, 2))
    with pytest.raises(ValueError, match="got f=2 and n=4 clients"):
        aggregate(Chain(steps=(Bucketing(),), rule=Krum(f=2)), torch.zeros(8, 2))


def test_malformed_updates_are_refused_by_their_clients_number(aggregate):
    rows = torch.ones(4, 2)
    rows[2, 1] = float("inf")
    with pytest.raises(ValueError, match="client 12 is not finite"):
        aggregate(Chain(steps=(Mixed(((0.25, 0.25, 0.25, 0.25),)),), rule=FedAvg()), rows)


def test_steps_may_be_a_list_and_chains_compare_by_value():
    assert Chain(steps=[NNM(), Bucketing()], rule=Median()) == Chain(steps=(NNM(), Bucketing()), rule=Median())
    assert hash(Chain(steps=[NNM()], rule=Median())) == hash(Chain(steps=(NNM(),), rule=Median()))
