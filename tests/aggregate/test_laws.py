"""The laws each rule obeys, on generated rounds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedsonar.aggregate import (
    FLAME,
    NNM,
    RLR,
    AlignIns,
    Bucketing,
    Bulyan,
    CenteredClipping,
    Chain,
    Clipping,
    DnC,
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedYogi,
    FLDetector,
    FLTrust,
    FoolsGold,
    FoundationFL,
    FreqFed,
    GeometricMedian,
    Krum,
    Median,
    MultiKrum,
    MultiMetrics,
    NormClip,
    TrimmedMean,
    WeakDP,
)

NEAREST = Chain(steps=[NNM()], rule=Median())
# Laws, each with the rules that keep it. They are sieves: whoever keeps a law is in all of those above it.
SHIFTED = [
    FedAvg(), Krum(), MultiKrum(), Median(), TrimmedMean(), FedAvgM(), GeometricMedian(), Bulyan(f=1),
    FoundationFL(), FoundationFL(rule=TrimmedMean()), DnC(), NEAREST,
]  # fmt: skip
"""Moving all updates moves the result: the rule does not care where zero is."""
UNANIMOUS = [
    *SHIFTED, RLR(), NormClip(), CenteredClipping(), FLAME(lam=0), FreqFed(), FreqFed(variant="majority"),
    MultiMetrics(), AlignIns(), FLDetector(), Chain(steps=[Clipping()], rule=Median()),
]  # fmt: skip
SCALED = [*UNANIMOUS, FoolsGold()]
ORDERLESS = [*SCALED, FedAdagrad(), FedAdam(), FedYogi(), WeakDP(), FLTrust(root_rows=1)]
RULES = [*ORDERLESS, Chain(steps=[Bucketing()], rule=Median())]
IN_RANGE = [Krum(), Median(), TrimmedMean(), Bulyan(f=1), FoundationFL()]
MEANS = [NEAREST, FedAvg(), MultiKrum(), DnC(), FreqFed(), MultiMetrics(), GeometricMedian()]
ROBUST = [
    Krum(), MultiKrum(), Median(), TrimmedMean(), GeometricMedian(steps=200, ftol=0), FoundationFL(), DnC(), NEAREST,
]  # fmt: skip
COORDINATE_RULES = [Median(), TrimmedMean()]


def every(rules):
    return pytest.mark.parametrize("rule", rules, ids=str)


@st.composite
def rounds(draw):
    """Between 7 and 12 updates of 1 to 6 coordinates."""
    shape = st.tuples(st.integers(7, 12), st.integers(1, 6))
    return torch.from_numpy(draw(arrays(np.float64, shape, elements=st.floats(-100, 100))))


@st.composite
def random_rounds(draw):
    """Rounds without ties or close calls, where a reordering or rounding cannot change who is chosen."""
    shape = draw(st.tuples(st.integers(7, 12), st.integers(3, 6)))
    return torch.from_numpy(np.random.default_rng(draw(st.integers(0, 2**32))).normal(size=shape))


@every(ORDERLESS)
@given(rows=random_rounds(), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_clients_does_not_matter(aggregate, rule, rows, seed):
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(aggregate(rule, rows[order]), aggregate(rule, rows))


@every([Median(), TrimmedMean(), FedAvg()])
@given(rows=rounds(), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_the_order_does_not_matter_with_ties_either(aggregate, rule, rows, seed):
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(aggregate(rule, rows[order]), aggregate(rule, rows))


@every(SHIFTED)
@given(rows=random_rounds(), shift=st.floats(-1000, 1000))
@settings(max_examples=40, deadline=None)
def test_a_shift_of_all_updates_shifts_the_result(aggregate, rule, rows, shift):
    shift_D = shift * torch.arange(1.0, rows.shape[1] + 1, dtype=rows.dtype)
    shifted = aggregate(rule, rows + shift_D)
    torch.testing.assert_close(shifted, aggregate(rule, rows) + shift_D, rtol=1e-9, atol=1e-9)


@every(SCALED)
@given(rows=random_rounds(), factor=st.floats(0.001, 1000))
@settings(max_examples=40, deadline=None)
def test_a_scale_of_all_updates_scales_the_result(aggregate, rule, rows, factor):
    torch.testing.assert_close(aggregate(rule, factor * rows), factor * aggregate(rule, rows), rtol=1e-9, atol=1e-9)


@every(UNANIMOUS)
@given(rows=rounds(), n=st.integers(7, 40))
@settings(max_examples=40, deadline=None)
def test_unanimous_clients_are_followed(aggregate, rule, rows, n):
    same = rows[:1].expand(n, -1).float()
    torch.testing.assert_close(aggregate(rule, same), same[0], rtol=1e-6, atol=0)


@every(IN_RANGE)
@given(rows=rounds())
@settings(max_examples=60, deadline=None)
def test_no_coordinate_leaves_the_range_of_the_updates(aggregate, rule, rows):
    result = aggregate(rule, rows)
    assert (result >= rows.amin(0)).all()
    assert (result <= rows.amax(0)).all()


@every(MEANS)
@given(rows=rounds())
@settings(max_examples=40, deadline=None)
def test_a_mean_leaves_the_range_by_rounding_at_most(aggregate, rule, rows):
    result, slack = aggregate(rule, rows), 1e-15 * rows.abs().sum(0) + 1e-300  # a share of the least float64 is 0
    assert (result >= rows.amin(0) - slack).all()
    assert (result <= rows.amax(0) + slack).all()


@every(ROBUST)
@given(rows=random_rounds(), size=st.floats(1e3, 1e6), together=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_fifth_of_the_clients_far_away_cannot_pull_the_result_after_them(aggregate, rule, rows, size, together):
    n = len(rows)
    f = n // 5
    attacked = rows.clone()
    attacked[:f] = size if together else size * (1 + torch.arange(f, dtype=rows.dtype))[:, None]
    result, honest = aggregate(rule, attacked), rows[f:]
    # Krum follows one honest client, MultiKrum averages honest ones, the others stay in each coordinate's range.
    assert (result >= honest.amin(0) - 1e-9).all()
    assert (result <= honest.amax(0) + 1e-9).all()


def test_one_client_pulls_fedavg_as_far_as_it_likes(aggregate):
    # The law above is not vacuous: it fails for the rule that has no defence.
    assert aggregate(FedAvg(), [[0.0]] * 9 + [[1e6]]).item() == pytest.approx(1e5)


@every(COORDINATE_RULES)
@given(rows=rounds(), flips=st.lists(st.booleans(), min_size=6, max_size=6))
@settings(max_examples=40, deadline=None)
def test_coordinates_are_treated_apart(aggregate, rule, rows, flips):
    signs = torch.where(torch.tensor(flips[: rows.shape[1]]), -1.0, 1.0).to(rows.dtype)
    torch.testing.assert_close(aggregate(rule, rows * signs), aggregate(rule, rows) * signs)


@every([Krum(f=1), MultiKrum(f=1)])
@given(rows=random_rounds(), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_krum_knows_no_direction(aggregate, rule, rows, seed):
    square = np.random.default_rng(seed).normal(size=(rows.shape[1], rows.shape[1]))
    rotation = torch.from_numpy(np.linalg.qr(square)[0])
    torch.testing.assert_close(aggregate(rule, rows @ rotation), aggregate(rule, rows) @ rotation)


@every(RULES)
@given(rows=rounds(), copies=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_duplicate_clients_are_no_trouble(aggregate, rule, rows, copies):
    rows = torch.cat([rows, rows[:1].expand(copies, -1)])
    assert aggregate(rule, rows).isfinite().all()


@every(RULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("exponent", [0, 1, 14, 100])
def test_updates_next_to_nothing_are_no_trouble(aggregate, rule, dtype, exponent):
    """Norms so small that they, their squares or their reciprocals leave the range of the type."""
    # The exponent counts up from the smallest number that the type can hold.
    least = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps * 2.0**exponent
    rows = torch.zeros(9, 3, dtype=dtype)
    rows[::4] = least
    assert aggregate(rule, rows).isfinite().all()
    rows[1] = -3 * least
    assert aggregate(rule, rows).isfinite().all()


@every(RULES)
@given(rows=rounds())
@settings(max_examples=25, deadline=None)
def test_inputs_are_left_alone(aggregate, rule, rows):
    before = rows.clone()
    aggregate(rule, rows)
    assert torch.equal(rows, before)
