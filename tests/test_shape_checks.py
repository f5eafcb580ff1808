"""The import hook is on: a wrong shape or dtype stops a test, and everything else is left to mypy."""

import jaxtyping
import pytest
import torch

from fedsonar.aggregate.rule import RoundContext
from fedsonar.experiment import to_toml
from fedsonar.model.layout import Layout, Site
from fedsonar.records import Update


def test_a_wrong_shape_stops_a_call() -> None:
    context = RoundContext(round=1, clients=[1, 2], weights=torch.ones(2))
    with pytest.raises(jaxtyping.TypeCheckError, match="shares"):
        context.record(torch.ones(2, 2))


@pytest.mark.parametrize("delta", [torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64)])
def test_a_wrong_array_stops_a_dataclass_with_slots(delta: torch.Tensor) -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="delta"):
        Update(client=1, num_rows=2, num_steps=1, loss=0.5, delta=delta)


def test_generators_keep_working() -> None:
    layout = Layout((Site("layer", 3, 4, 0),), 2, 1.0)
    [(_, a, b)] = layout.factors(torch.arange(14.0))
    assert (a.shape, b.shape) == ((2, 3), (4, 2))


def test_numbers_are_left_to_mypy() -> None:
    assert Update(client=1, num_rows=2, num_steps=1, loss=1, delta=torch.zeros(3)).loss == 1


@pytest.mark.usefixtures("shapes_unchecked")
def test_the_fixture_turns_the_checks_off() -> None:
    Update(client=1, num_rows=2, num_steps=1, loss=0.5, delta=torch.zeros(3, 1))


def test_functions_without_arrays_are_left_as_they_are() -> None:
    assert hasattr(RoundContext.record, "__wrapped__")
    assert not hasattr(to_toml, "__wrapped__")
