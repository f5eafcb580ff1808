"""FedAvgM, FedAdagrad, FedAdam, FedYogi: hand cases of two rounds, a naive reference, and the state they keep."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fedsonar.aggregate import FedAvg
from fedsonar.aggregate.server_optimiser import FedAdagrad, FedAdam, FedAvgM, FedYogi
from fedsonar.testing import check_aggregator

ADAPTIVE = [FedAdagrad(), FedAdam(), FedYogi()]
ALL = [FedAvgM(), *ADAPTIVE]


def every(rules):
    return pytest.mark.parametrize("rule", rules, ids=lambda rule: type(rule).__name__)


def steps_of(rule, rounds, new_round, **context):
    """The step of each round, one after the other, with one state."""
    state, steps = {}, []
    for rows in rounds:
        rows = torch.as_tensor(rows, dtype=torch.float64)
        steps.append(rule.aggregate(rows, replace(new_round(len(rows), **context), state=state)))
    return torch.stack(steps)


def naive(rule, means):
    """Algorithm 2 a coordinate at a time, written for a pseudo-gradient g = -mean that the server descends."""
    result = []
    for series in np.array(means).T:
        m, v, steps = 0.0, 0.0, []
        if not isinstance(rule, FedAvgM):
            v = rule.tau**2
        for mean in series:
            g = -mean
            if isinstance(rule, FedAvgM):
                m = rule.momentum * m + g
                steps.append(-rule.lr * m)
                continue
            m = rule.beta1 * m + (1 - rule.beta1) * g
            if isinstance(rule, FedAdagrad):
                v += g**2
            elif isinstance(rule, FedAdam):
                v = rule.beta2 * v + (1 - rule.beta2) * g**2
            else:
                v -= (1 - rule.beta2) * g**2 * np.sign(v - g**2)
            steps.append(-rule.lr * m / (math.sqrt(v) + rule.tau))
        result.append(steps)
    return np.array(result).T


def test_fedavgm_keeps_the_contract():
    check_aggregator(FedAvgM())


@every(ADAPTIVE)
def test_the_adaptive_ones_keep_the_contract_of_rules_that_rescale(rule):
    check_aggregator(rule, alone=False)


def test_hand_case_of_fedavgm(new_round):
    # Means 1 and 2, momentum .5, lr .1: v = 1, then .5 + 2 = 2.5.
    steps = steps_of(FedAvgM(lr=0.1, momentum=0.5), [[[0.0], [2.0]], [[1.0], [3.0]]], new_round)
    assert steps.flatten().tolist() == pytest.approx([0.1, 0.25])


def test_hand_case_of_fedadagrad(new_round):
    # Means 2 and -2, tau 1: v = 1 + 4 = 5, then 9. Steps 2 / (sqrt(5) + 1) and -2 / (3 + 1).
    steps = steps_of(FedAdagrad(lr=1.0, tau=1.0), [[[2.0]], [[-2.0]]], new_round)
    assert steps.flatten().tolist() == pytest.approx([2 / (5**0.5 + 1), -0.5])


def test_hand_case_of_fedadam(new_round):
    # Means 2 and 4, tau 1, both betas .5: m = 1, then .5 + 2 = 2.5. v = .5 + 2 = 2.5, then 1.25 + 8 = 9.25.
    steps = steps_of(FedAdam(lr=1.0, beta1=0.5, beta2=0.5, tau=1.0), [[[2.0]], [[4.0]]], new_round)
    assert steps.flatten().tolist() == pytest.approx([1 / (2.5**0.5 + 1), 2.5 / (9.25**0.5 + 1)])


def test_hand_case_of_fedyogi(new_round):
    # Means 2 and 1, tau 1, beta1 .5, beta2 .25: m = 1, then 1. v = 1 + .75 * 4 = 4, then 4 - .75 * 1 = 3.25.
    steps = steps_of(FedYogi(lr=1.0, beta1=0.5, beta2=0.25, tau=1.0), [[[2.0]], [[1.0]]], new_round)
    assert steps.flatten().tolist() == pytest.approx([1 / 3, 1 / (3.25**0.5 + 1)])


@every([*ALL, FedAvgM(lr=0.5, momentum=0.3), FedAdagrad(beta1=0.9), FedAdam(beta2=0.5), FedYogi(tau=0.1, beta1=0.0)])
def test_equals_a_naive_reference_over_rounds(new_round, rule):
    rng = np.random.default_rng(3)
    rounds = [rng.normal(size=(4, 3)) * size for size in (1.0, 0.1, 0.1, 3.0, 1e-3, 1e-4)]
    weights = [0.5, 0.25, 0.125, 0.125]
    expected = naive(rule, [np.average(rows, axis=0, weights=weights) for rows in rounds])
    np.testing.assert_allclose(steps_of(rule, rounds, new_round, weights=weights).numpy(), expected, rtol=1e-9)


def test_the_second_moment_starts_at_tau_squared_without_bias_correction(new_round):
    # The paper's convention. From 0 and with bias correction, as in public code, the first step would be
    # lr * 3 / (3 + tau) = 9.997e-3; here it is lr * .1 * 3 / (sqrt(.99e-6 + .01 * 9) + tau).
    step = steps_of(FedAdam(), [[[3.0]]], new_round).item()
    assert step == pytest.approx(0.01 * 0.3 / (math.sqrt(0.99e-6 + 0.09) + 1e-3), rel=1e-9)


@every(ALL)
def test_steps_go_with_the_updates_not_against_them(new_round, rule):
    # Updates are steps already; a pseudo-gradient has the other sign.
    assert (steps_of(rule, [[[1.0, -1.0]]] * 3, new_round).sign() == torch.tensor([1.0, -1.0])).all()


def test_without_momentum_fedavgm_is_fedavg(new_round):
    rows = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    steps = steps_of(FedAvgM(momentum=0.0), [rows, 2 * rows], new_round)
    mean = FedAvg().aggregate(rows, new_round(5))
    torch.testing.assert_close(steps, torch.stack([mean, 2 * mean]))


@every(ALL)
def test_other_clients_and_another_number_of_them_go_on_with_the_state(new_round, rule):
    rounds = [np.full((n, 2), value) for n, value in ((3, 1.0), (1, 0.5), (8, -1.0))]
    expected = naive(rule, [rows[0] for rows in rounds])
    np.testing.assert_allclose(steps_of(rule, rounds, new_round).numpy(), expected, rtol=1e-6)


@every(ALL)
def test_the_state_is_named_after_the_rule_and_never_changed_in_place(new_round, rule):
    context = new_round(1)
    rule.aggregate(torch.ones(1, 2), context)
    name = type(rule).__name__.lower()
    names = {f"{name}.momentum"} if isinstance(rule, FedAvgM) else {f"{name}.momentum", f"{name}.second_moment"}
    assert context.state.keys() == names
    # A checkpoint may hold the tensors of the round before.
    held = dict(context.state)
    before = {key: tensor.clone() for key, tensor in held.items()}
    rule.aggregate(torch.ones(1, 2), context)
    assert all(torch.equal(held[key], before[key]) for key in names)
    assert all(context.state[key] is not held[key] for key in names)


@every(ALL)
def test_the_weights_are_recorded(new_round, rule):
    context = new_round(3, weights=[0.5, 0.25, 0.25])
    rule.aggregate(torch.ones(3, 2), context)
    assert context.shares.tolist() == [0.5, 0.25, 0.25]


@every(ALL)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_dtype_and_inputs_stay(aggregate, rule, dtype):
    rows = torch.tensor([[1.0, -2.0], [3.0, 0.0]], dtype=dtype)
    before = rows.clone()
    assert aggregate(rule, rows).dtype == dtype
    assert torch.equal(rows, before)


@every(ADAPTIVE)
def test_the_largest_updates_give_finite_steps(aggregate, rule):
    assert aggregate(rule, torch.full((2, 3), 1e150 / 3, dtype=torch.float64)).isfinite().all()


def test_a_step_that_overflows_is_refused_and_leaves_no_state(new_round):
    context = new_round(1)
    with pytest.raises(ValueError, match=r"FedAvgM is too large for torch\.float32 .*3e\+38.*lower its lr"):
        FedAvgM(lr=10.0).aggregate(torch.tensor([[3e38]]), context)
    assert context.state == {}


@every(ALL)
def test_weights_that_are_no_weights_are_refused(aggregate, rule):
    with pytest.raises(ValueError, match="sum to 1"):
        aggregate(rule, [[1.0], [2.0]], weights=[0.5, 0.25])


@pytest.mark.parametrize(
    ("rule", "name", "values"),
    [(FedAvgM, "lr", (0.0, math.inf, math.nan)), (FedAvgM, "momentum", (-0.1, 1.0))]
    + [(rule, "lr", (0.0, -1.0)) for rule in (FedAdagrad, FedAdam, FedYogi)]
    + [(rule, "tau", (0.0, math.nan)) for rule in (FedAdagrad, FedAdam, FedYogi)]
    + [(rule, "beta1", (1.0, -0.1)) for rule in (FedAdagrad, FedAdam, FedYogi)]
    + [(rule, "beta2", (1.0, math.nan)) for rule in (FedAdam, FedYogi)],
)
def test_parameters_out_of_range_are_refused(rule, name, values):
    for value in values:
        with pytest.raises(ValueError, match=rf"{rule.__name__} needs .*got {name}={value}"):
            rule(**{name: value})
