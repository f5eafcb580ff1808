"""The contract check passes our rules, and says what is wrong with broken ones."""

from dataclasses import dataclass

import pytest
import torch

from fedsonar.aggregate import Aggregator, FedAvg, Krum, Median, MultiKrum, TrimmedMean
from fedsonar.testing import check_aggregator


@pytest.mark.parametrize(
    "rule", [FedAvg(), Krum(), Krum(f=3), MultiKrum(), MultiKrum(m=2), Median(), TrimmedMean(), TrimmedMean(beta=0.4)]
)
def test_our_rules_keep_the_contract(rule):
    check_aggregator(rule)


@dataclass(frozen=True, kw_only=True)
class Mean(Aggregator):
    """The plain mean; broken below in one way at a time.

    References:
        None: a toy.
    """

    def aggregate(self, updates_ND, context):
        return updates_ND.mean(dim=0)


def test_a_small_plugin_keeps_the_contract():
    check_aggregator(Mean())


def broken(aggregate):
    """A rule that keeps the contract but for its `aggregate`."""

    @dataclass(frozen=True, kw_only=True)
    class Broken(Mean):
        """A mean with a fault.

        References:
            None: a toy.
        """

    Broken.aggregate = aggregate
    return Broken()


def sorts_in_place(self, updates_ND, context):
    updates_ND.copy_(updates_ND.sort(dim=0).values)
    return updates_ND.mean(dim=0)


def scales_the_weights(self, updates_ND, context):
    context.weights.mul_(2)
    return updates_ND.mean(dim=0)


def records_one_share_too_few(self, updates_ND, context):
    context.record(context.weights[1:])
    return updates_ND.mean(dim=0)


def records_negative_shares(self, updates_ND, context):
    context.record(-context.weights)
    return updates_ND.mean(dim=0)


def remembers_outside_the_context(self, updates_ND, context, calls=[]):  # noqa: B006
    calls.append(1)
    return updates_ND[len(calls) % len(updates_ND)]


def refuses_without_a_reason(self, updates_ND, context):
    if len(updates_ND) < 3:
        raise ValueError("too few")
    return updates_ND.mean(dim=0)


FAULTS = {
    "changed the updates": sorts_in_place,
    "changed the context's weights": scales_the_weights,
    "one finite share of at least 0 for each of 20": records_one_share_too_few,
    "one finite share of at least 0 for each": records_negative_shares,
    "global random state": lambda self, updates_ND, context: updates_ND[torch.randint(len(updates_ND), ())],
    "gave two results": remembers_outside_the_context,
    "not finite": lambda self, updates_ND, context: updates_ND.mean(dim=0).log(),
    r"got shape \(20,\)": lambda self, updates_ND, context: updates_ND.mean(dim=1),
    "of torch.float64, got shape": lambda self, updates_ND, context: updates_ND.mean(dim=0).float(),
    "into a zero step": lambda self, updates_ND, context: updates_ND.mean(dim=0) + 1,
    "must return the update of a single client": lambda self, updates_ND, context: updates_ND.mean(dim=0) / 2,
    "how many clients it needs": refuses_without_a_reason,
}


@pytest.mark.parametrize(("message", "fault"), FAULTS.items(), ids=list(FAULTS))
def test_a_broken_rule_is_told_what_is_wrong(message, fault):
    with pytest.raises(AssertionError, match=message):
        check_aggregator(broken(fault))


def test_a_rule_that_refuses_one_client_with_numbers_is_fine():
    def refuse(self, updates_ND, context):
        if len(updates_ND) < 3:
            raise ValueError(f"Broken needs at least 3 clients, got {len(updates_ND)}")
        return updates_ND.mean(dim=0)

    check_aggregator(broken(refuse))


def test_a_rule_that_can_be_changed_is_refused():
    @dataclass(kw_only=True)
    class Mutable(Aggregator):
        """A mean.

        References:
            None: a toy.
        """

        scale: float = 1.0

        def aggregate(self, updates_ND, context):
            return updates_ND.mean(dim=0)

    with pytest.raises(AssertionError, match=r"Mutable must be decorated with @dataclass\(frozen=True\)"):
        check_aggregator(Mutable())


def test_a_subclass_that_forgot_to_be_a_dataclass_is_refused():
    class Forgot(Mean):
        """A mean.

        References:
            None: a toy.
        """

    with pytest.raises(AssertionError, match="Forgot must be decorated"):
        check_aggregator(Forgot())


def test_a_rule_without_references_is_refused():
    @dataclass(frozen=True, kw_only=True)
    class Undocumented(Mean):
        pass

    with pytest.raises(AssertionError, match="Undocumented needs a docstring with a References section"):
        check_aggregator(Undocumented())
