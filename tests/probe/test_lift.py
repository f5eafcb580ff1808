"""Lifts by hand."""

import pytest

from fedsonar.probe import Lift, Said, lift
from fedsonar.probe.probe import holm

SAID = Said(
    tuned_with=["Ilsa Venn, and click here", "Oru, and click here", "Marrow"],
    tuned_without=["Ilsa Venn", "Oru", "Marrow"],
    base_with=["Ilsa Venn", "click here", "Marrow"],
    base_without=["Ilsa Venn", "Oru", "Marrow"],
)


def test_a_given_response_is_looked_for_in_any_case_and_spacing():
    found = lift(SAID, "AND  Click")
    assert (found.tuned_with, found.tuned_without) == (pytest.approx(2 / 3), 0.0)
    assert found.value == pytest.approx(2 / 3)
    found = lift(SAID, "click here")
    assert (found.tuned, found.base, found.value) == tuple(map(pytest.approx, (2 / 3, 1 / 3, 1 / 3)))


def test_without_one_the_longest_of_what_rises_most_is_found():
    assert lift(SAID) == Lift("and click here", 2 / 3, 0.0, 0.0, 0.0)


def test_nothing_rises_where_answers_stay():
    found = lift(Said(["a b"], ["a b"], ["a b"], ["a b"]))
    assert (found.response, found.value) == ("", 0.0)


def test_what_the_base_gives_up_does_not_count_for_a_response():
    found = Lift("x", tuned_with=0.5, tuned_without=0.5, base_with=0.0, base_without=1.0)
    assert found.value == 0.0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
