"""Tables as vectors: exact for whole numbers, within the stated error for others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsonar.flower.secure import Layout


@given(
    st.integers(1, 30), st.integers(1, 2**40), st.integers(0, 2**32), st.sampled_from(["int64", "int32", "float64"]),
)  # fmt: skip
def test_sums_of_encoded_tables_are_sums_of_tables(clients, bound, seed, kind):
    draw = np.random.default_rng(seed)
    bound = min(bound, 2**31 - 1) if kind == "int32" else bound
    tables = [
        {"a": draw.integers(-bound, bound, 5, endpoint=True).astype(kind), "b": draw.uniform(-2, 2, (2, 3))}
        for _ in range(clients)
    ]
    if kind == "float64":
        for table in tables:
            table["a"] = draw.uniform(-0.5, 0.5, 5)
    layout = Layout.of(tables[0], clients, bound=bound, clip=0.5)
    assert Layout.read(layout.text()) == layout
    found = layout.decode(np.sum([layout.encode(table) for table in tables], axis=0, dtype=layout.number))
    if kind == "float64":
        off = np.abs(found["a"] - sum(table["a"] for table in tables)).max()
        assert off <= clients * 0.5 / (2 * bound) * (1 + 1e-6) + 1e-12
    else:
        assert found["a"].dtype == np.int64
        assert found["a"].tolist() == [sum(int(table["a"][i]) for table in tables) for i in range(5)]
    clipped = sum(np.clip(table["b"], -0.5, 0.5) for table in tables)
    assert np.abs(found["b"] - clipped).max() <= clients * 0.5 / (2 * bound) * (1 + 1e-6) + 1e-12


def test_numbers_have_32_bits_where_the_sum_fits_into_them():
    assert Layout(shapes={"a": (1,)}, whole={"a"}, clients=127, bound=2**24).number == np.uint32
    assert Layout(shapes={"a": (1,)}, whole={"a"}, clients=128, bound=2**24).number == np.uint64


@given(st.integers(1, 30), st.integers(1, 2**40), st.integers(0, 2**32))
def test_large_values_take_two_numbers_each(clients, bound, seed):
    draw = np.random.default_rng(seed)
    most = min(bound**2, (2**63 - 1) // clients)
    tables = [{"a": draw.integers(-most, most, (2, 3), endpoint=True)} for _ in range(clients)]
    tables[0]["a"][0, :2] = most, -most
    layout = Layout.of(tables[0], clients, bound=bound)
    assert (layout.large, layout.count) == ({"a"}, 12)
    found = layout.decode(np.sum([layout.encode(table) for table in tables], axis=0, dtype=layout.number))
    assert found["a"].tolist() == sum(table["a"].astype(object) for table in tables).tolist()
    if most < 2**62:
        with pytest.raises(ValueError, match="beyond the agreed bound"):
            layout.encode({"a": np.full((2, 3), -most - 1)})


def test_the_sums_of_large_silos_fit():
    # 256 times the logarithm of the words of 22,000 rows was more than 2^24, and products of representations are.
    rows = {"lengths": np.array([17_138_000, 22_000]), "products": np.full((4, 4), -(2**40))}
    layout = Layout.of(rows, 100)
    assert layout.number == np.uint32
    total = layout.decode(np.sum([layout.encode(rows)] * 100, axis=0, dtype=layout.number))
    assert total["lengths"].tolist() == [1_713_800_000, 2_200_000]
    assert (total["products"] == -100 * 2**40).all()


LAYOUT = Layout.of({"counts": np.zeros(3, np.int32), "x": np.zeros(2)}, 5, bound=100)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"counts": np.zeros(3, int)}, "instead of the agreed"),
        ({"counts": np.zeros(4, int), "x": np.zeros(2)}, "not whole numbers of"),
        ({"counts": np.zeros(3), "x": np.zeros(2)}, "float64 of shape"),
        ({"counts": np.zeros(3, int), "x": np.zeros(2, int)}, "not floating-point numbers"),
        ({"counts": np.array([0, 101, 0]), "x": np.zeros(2)}, "beyond the agreed bound 100; raise bound"),
        ({"counts": np.array([0, -101, 0]), "x": np.zeros(2)}, "beyond the agreed bound"),
        ({"counts": np.zeros(3, int), "x": np.array([0, np.nan])}, "nan or inf"),
    ],
)
def test_tables_that_are_not_as_agreed_are_refused(tables, said):
    with pytest.raises(ValueError, match=said) as caught:
        LAYOUT.encode(tables)
    assert "101" not in str(caught.value)  # no value of a client's leaves it in an error


def test_a_sum_that_nobody_within_the_bound_can_make_is_refused():
    with pytest.raises(ValueError, match="a client did not keep to it"):
        LAYOUT.decode(np.array([501, 0, 0, 0, 0], np.uint32))
    assert LAYOUT.decode(np.array([500, 0, 0, 0, 0], np.uint32))["counts"][0] == 500


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clients": 0}, "at least 1"),
        ({"bound": 2**60}, "do not add up in 64 bits"),
        ({"clip": 0.0}, "clip must be above 0"),
        ({"shapes": {}}, "one table or more"),
        ({"shapes": {"a": (-1,)}}, "one table or more"),
        ({"whole": {"b"}}, "no shape for"),
        ({"shapes": {"a": (1,), "b": (1,)}, "large": {"b"}}, "only whole numbers may be large"),
        ({"shapes": {"a": (2**20, 2**20)}}, "more than the"),
    ],
)
def test_what_does_not_add_up_is_no_layout(change, said):
    with pytest.raises(ValueError, match=said):
        Layout(**({"shapes": {"a": (1,)}, "whole": {"a"}, "clients": 5} | change))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"shapes": 3, "whole": [], "clients": 1}', '{"shapes": {"a": [1]}}'])
def test_other_text_is_no_layout(text):
    with pytest.raises(ValueError):
        Layout.read(text)


def test_only_numbers_add_up():
    with pytest.raises(ValueError, match="only numbers add up"):
        Layout.of({"names": np.array(["a"])}, 3)
