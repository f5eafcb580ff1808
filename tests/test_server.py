"""The server's part of a round: malformed updates, weights, spaces, and messages."""

import re
from dataclasses import dataclass, replace

import pytest
import torch

from fedsonar import Experiment
from fedsonar.aggregate import Aggregator, FedAvg, Krum, Median
from fedsonar.model import Layout, Site, random_adapter
from fedsonar.records import Update
from fedsonar.server import Server, check_clients

LAYOUT = Layout((Site("only", 3, 2, 0),), 2, 1.0)
START = random_adapter(LAYOUT, torch.Generator().manual_seed(0))


def server(**changes):
    return Server(replace(Experiment(), **changes), LAYOUT, {})


def update(client, delta=1.0, rows=5):
    delta = torch.full((LAYOUT.dim,), float(delta)) if isinstance(delta, int | float) else delta
    made = Update(client, rows, 1, 0.5, torch.zeros(1))
    object.__setattr__(made, "delta", delta)  # past the checks of types and shapes, as from another machine
    return made


MALFORMED = {
    "values that are not finite": torch.full((LAYOUT.dim,), float("nan")),
    "shape (3,) instead of (10,)": torch.zeros(3),
    "type torch.int64 instead of floating point": torch.zeros(LAYOUT.dim, dtype=torch.int64),
}


@pytest.mark.parametrize("reason", MALFORMED)
def test_a_malformed_update_is_refused_and_the_round_goes_on(reason):
    done = server().aggregate(1, START, [update(4), update(7, MALFORMED[reason]), update(9, 3.0, rows=15)])
    assert [(u.client, why) for u, why in done.refused] == [(7, reason)]
    assert [u.client for u in done.kept] == [4, 9]
    torch.testing.assert_close(done.weights, torch.tensor([0.25, 0.75]))
    torch.testing.assert_close(done.step, torch.full((LAYOUT.dim,), 2.5))


def test_a_second_update_of_one_client_and_one_without_rows_are_refused():
    done = server().aggregate(1, START, [update(4), update(4, 9.0), update(5, 9.0, rows=0)])
    assert [why for _, why in done.refused] == ["a second update of client 4 in one round", "0 rows trained on"]
    torch.testing.assert_close(done.step, torch.ones(LAYOUT.dim))


def test_an_update_in_another_precision_is_taken():
    done = server().aggregate(1, START, [update(0), update(1, torch.ones(LAYOUT.dim, dtype=torch.float64))])
    assert not done.refused
    assert done.step.dtype == torch.float32


def test_too_few_updates_fail_with_the_rules_requirement_and_the_refused():
    with pytest.raises(ValueError, match=r"round 3: Krum needs 2f \+ 2 < n, got f=0 and n=2.*client 7: values that"):
        server(aggregator=Krum()).aggregate(
            3, START, [update(4), update(7, MALFORMED["values that are not finite"]), update(9)]
        )
    with pytest.raises(ValueError, match="round 1: no update is left"):
        server().aggregate(1, START, [])


def test_a_round_fails_below_the_stated_minimum_of_updates_and_says_who_was_refused():
    bad = update(7, MALFORMED["values that are not finite"])
    said = "round 2: 2 of 3 updates are left, and min_updates is 3 .refused: client 7: values that are not finite"
    with pytest.raises(ValueError, match=said):
        server(min_updates=3).aggregate(2, START, [update(4), bad, update(9)])
    assert len(server(min_updates=2).aggregate(2, START, [update(4), bad, update(9)]).kept) == 2
    with pytest.raises(ValueError, match="min_updates must be at least 1, got 0"):
        Experiment(min_updates=0)


@dataclass(frozen=True, kw_only=True)
class _Broken(Aggregator):
    """Never finite."""

    def aggregate(self, updates_ND, context):
        return updates_ND[0] / 0


def test_a_rule_whose_result_is_not_finite_is_named():
    with pytest.raises(FloatingPointError, match="_Broken gave a step that is not finite in round 2"):
        server(aggregator=_Broken()).aggregate(2, START, [update(1)])


@dataclass(frozen=True, kw_only=True)
class _Misshapen(Aggregator):
    """Gives what is no step."""

    result: object = None

    def aggregate(self, updates_ND, context):
        return self.result


@pytest.mark.parametrize(
    ("result", "got"), [(torch.zeros(3), "a tensor of shape (3,)"), (0.5, "a float"), (None, "a NoneType")]
)
def test_a_rule_whose_result_is_no_step_is_named_before_the_first_round_and_in_every_one(result, got):
    rule = _Misshapen(result=result)
    for length, ask in (
        (LAYOUT.dim, lambda: server(aggregator=rule).aggregate(2, START, [update(1)])),
        (16, lambda: check_clients(rule, 5)),
    ):
        said = f"_Misshapen must give a tensor of shape ({length},), gave {got}"
        with pytest.raises(ValueError, match=re.escape(said)):
            ask()


@dataclass(frozen=True, kw_only=True)
class _Looks(Aggregator):
    """Sums up what it is shown."""

    root_rows: int = 2

    def aggregate(self, updates_ND, context):
        seen = [updates_ND.shape[1], sum(rows * columns for _, rows, columns in context.matrices), len(context.root)]
        context.state["seen"] = torch.tensor(seen)
        return updates_ND.mean(0)


@pytest.mark.parametrize(("space", "length"), [("factors", 10), ("product", 6), ("freeze-a", 4)])
def test_rule_matrices_and_root_are_in_the_same_space(space, length):
    looks = server(aggregator=_Looks(), space=space)
    done = looks.aggregate(1, START, [update(0), update(1)], root=update(-1))
    assert looks.state["seen"].tolist() == [length] * 3
    assert done.step.shape == START.shape
    assert (done.lost is None) == (space != "product")


@pytest.mark.parametrize("rule", [FedAvg(), Median()])
def test_lengths_are_those_in_the_space(rule):
    done = server(aggregator=rule, space="freeze-a").aggregate(1, START, [update(0), update(1)])
    assert done.lengths == pytest.approx([2.0, 2.0])
    assert done.length == pytest.approx(2.0)
    assert done.shares == ([0.5, 0.5] if isinstance(rule, FedAvg) else None)
