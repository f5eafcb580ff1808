"""Grids: how axes are read, what cells they make, and what is refused."""

import pytest

from fedsonar.aggregate import FedAvg, Krum
from fedsonar.experiment import ConfigError
from fedsonar.sweep.grid import Axis, cells, short_names

TOML = """
seed = 3
[attack.placement]
class_path = "fedsonar.poison.ConstantRate"
[attack.placement.init_args]
affected = 0.5
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "base.toml").write_text(TOML)
    return tmp_path / "base.toml"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("training.lr=1e-3,0.01", (0.001, 0.01)),
        ("name=one, two", ("one", "two")),
        ("x=[1, 2],[3]", ([1, 2], [3])),
        ("a.class_path=fedsonar.aggregate.Krum,fedsonar.aggregate.FedAvg",
         ("fedsonar.aggregate.Krum", "fedsonar.aggregate.FedAvg")),
        ("x=1,text,true", (1, "text", True)),
    ],
)  # fmt: skip
def test_axes_are_read_as_toml_and_else_as_text(text, values):
    assert Axis.parse(text) == Axis(text.partition("=")[0], values)


@pytest.mark.parametrize(
    ("text", "said"), [("x", "form path=value"), ("=1", "form path=value"), ("x=", "form"), ("x=1,2,1", "1 twice")]
)
def test_what_is_no_axis_is_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        Axis.parse(text)


def test_cells_are_all_combinations_for_all_seeds(path):
    axes = [Axis("attack.placement.rate", (0.1, 0.25)), Axis("rounds", (2, 3, 4))]
    made = cells(path, axes, seeds=2, overrides=["lora.r=2"])
    assert len(made) == 12
    assert made[0].name == "rate=0.1,rounds=2,seed=3"
    assert made[-1].name == "rate=0.25,rounds=4,seed=4"
    assert made[-1].values == {"attack.placement.rate": 0.25, "rounds": 4}
    last = made[-1].experiment
    assert (last.seed, last.rounds, last.lora.r, last.attack.placement.rate) == (4, 4, 2, 0.25)
    assert last.attack.placement.affected == 0.5


def test_components_are_named_by_their_section_and_class(path):
    axes = [Axis("aggregator.class_path", ("fedsonar.aggregate.FedAvg", "fedsonar.aggregate.Krum"))]
    made = cells(path, axes)
    assert [cell.name for cell in made] == ["aggregator=FedAvg,seed=3", "aggregator=Krum,seed=3"]
    assert [cell.experiment.aggregator for cell in made] == [FedAvg(), Krum()]


def test_seeds_can_be_an_axis(path):
    made = cells(path, [Axis("lora.r", (2,)), Axis("seed", (7, 8))])
    assert [cell.name for cell in made] == ["r=2,seed=7", "r=2,seed=8"]
    assert [cell.experiment.seed for cell in made] == [7, 8]


def test_paths_with_the_same_end_keep_all_of_their_name():
    assert short_names(["evaluation.rows", "data.rows", "lora.r"]) == {
        "evaluation.rows": "evaluation.rows", "data.rows": "data.rows", "lora.r": "r",
    }  # fmt: skip


def test_no_axes_leave_the_seeds(path):
    assert [cell.name for cell in cells(path, [], seeds=2)] == ["seed=3", "seed=4"]


@pytest.mark.parametrize(
    ("axes", "seeds", "said"),
    [
        ([Axis("rounds", (1,)), Axis("rounds", (2,))], 1, "rounds is in the grid twice"),
        ([Axis("seed", (1, 2))], 2, "leave out --seeds"),
        ([], 0, "at least 1, got 0"),
        ([Axis("rounds", (1, 0))], 1, "rounds=0: rounds must be at least 1, got 0"),
        ([Axis("nothing.there", (1,))], 1, "there=1: .*nothing"),
        ([Axis("name", ("a/b", "a_b"))], 1, "both be called name=a_b,seed=3"),
    ],
)
def test_grids_that_are_none_are_refused(path, axes, seeds, said):
    with pytest.raises(ConfigError, match=said):
        cells(path, axes, seeds)
