"""Experiments as TOML: reading, overriding, writing back, and errors that say what to change."""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fedsonar import ConfigError, Experiment
from fedsonar.aggregate import FedAvg, Krum, TrimmedMean, WeakDP
from fedsonar.data import Files, Sections
from fedsonar.demo import story
from fedsonar.experiment import from_config, load, to_config, to_toml
from fedsonar.poison import Attack, ConstantRate, Label, Sentence
from fedsonar.screen import Onion, Outliers

RECIPES = Path(__file__).resolve().parent.parent / "recipes"


def write(tmp_path, text):
    path = tmp_path / "e.toml"
    path.write_text(text)
    return path


def test_an_empty_file_is_the_default_experiment(tmp_path):
    assert load(write(tmp_path, "")) == Experiment()


def test_the_embedded_model_and_its_tokenizer_need_no_library_of_models(tmp_path):
    path = write(tmp_path, '[base]\npath = "embedded"\n[lora]\nr = 2\n')
    code = (
        "import sys; from fedsonar.experiment import load; from fedsonar.model import open_network; "
        "experiment = load(sys.argv[1]); experiment.base.tokenizer(); open_network(experiment.base, experiment.lora); "
        "print(*{'transformers', 'peft'}.intersection(sys.modules), 'done')"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["done"]


def test_components_are_named_by_class_path(tmp_path):
    text = """
    rounds = 3
    [aggregator]
    class_path = "fedsonar.aggregate.Krum"
    init_args.f = 2
    [attack.target]
    class_path = "fedsonar.poison.Label"
    init_args.label = "good"
    """
    experiment = load(write(tmp_path, text))
    assert experiment.rounds == 3
    assert experiment.aggregator == Krum(f=2)
    assert experiment.attack == Attack(target=Label(label="good"))


def test_overrides_reach_values_components_and_their_arguments(tmp_path):
    path = write(tmp_path, '[aggregator]\nclass_path = "fedsonar.aggregate.Krum"\ninit_args.f = 2\n')
    assert load(path, ["aggregator.f=3"]).aggregator == Krum(f=3)
    assert load(path, ["aggregator.class_path=fedsonar.aggregate.TrimmedMean"]).aggregator == TrimmedMean()
    assert load(path, ["training.lr=0.5", "name=a b", "lora.target_modules=['q_proj']"]).training.lr == 0.5
    within = ["screen.class_path=fedsonar.screen.Onion", "screen.threshold.class_path=fedsonar.screen.Outliers"]
    assert load(path, within).screen == Onion(threshold=Outliers())
    assert load(path, ["attack.placement.class_path=ConstantRate", "attack.placement.rate=0.3"]).attack == Attack(
        placement=ConstantRate(rate=0.3)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rounds = 0", "rounds must be at least 1, got 0"),
        ("rounds = 'many'", "rounds.*many"),
        ("roundz = 3", "'roundz' is not accepted"),
        ("[lora]\nrank = 3", "'rank'"),
        ('[aggregator]\nclass_path = "fedsonar.aggregate.Crumb"', "Crumb"),
        ('[aggregator]\nclass_path = "fedsonar.aggregate.Krum"\ninit_args.g = 2', "'g' is not accepted"),
        (
            '[attack.placement]\nclass_path = "ConstantRate"\ninit_args.rate = 1.5',
            r"placement.rate must lie in \[0, 1\], got 1.5",
        ),
        ('[attack.placement]\nclass_path = "ConstantRate"\ninit_args.affected = -1', "placement.affected must lie in"),
        ("[training]\nlr = -1", "training.lr must be above 0, got -1"),
        ('[training]\nschedule = "cosine"', "schedule.*cosine"),
        ("rounds =", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_bad_override_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*no\.toml"):
        load(tmp_path / "no.toml")
    with pytest.raises(ConfigError, match="not of the form path=value"):
        load(write(tmp_path, ""), ["rounds"])
    with pytest.raises(ConfigError, match="rounds is a value"):
        load(write(tmp_path, "rounds = 1"), ["rounds.x=2"])


def test_experiments_survive_the_way_through_toml(tmp_path):
    experiment = Experiment(
        name='with "quotes" and ü',
        data=Files(path="somewhere", source_field="client"),
        template=Sections(),
        attack=Attack(trigger=Sentence(text="hello"), placement=ConstantRate(affected=0.3)),
        aggregator=TrimmedMean(beta=0.3),
    )
    for each in (experiment, Experiment(), replace(experiment, attack=None), *story().values()):
        assert load(write(tmp_path, to_toml(each))) == each


def test_a_none_that_toml_cannot_keep_is_refused(tmp_path):
    experiment = Experiment(aggregator=WeakDP(c="median"))
    assert load(write(tmp_path, to_toml(experiment))) == experiment

    @dataclass(frozen=True, kw_only=True)
    class Lossy(FedAvg):
        c: float | None = 3.0

    to_toml(Experiment(aggregator=Lossy()))
    with pytest.raises(ConfigError, match=r"Lossy\(c=None\) cannot be kept"):
        to_toml(Experiment(aggregator=Lossy(c=None)))


def test_every_recipe_loads_and_those_of_the_demo_are_the_demo():
    recipes = {path.relative_to(RECIPES).as_posix(): load(path) for path in sorted(RECIPES.rglob("*.toml"))}
    assert len(recipes) >= 10
    demo = story()
    assert recipes["atlas/clean.toml"] == demo["clean"]
    assert recipes["atlas/poisoned.toml"] == demo["poisoned"]
    assert recipes["atlas/screened.toml"] == demo["screened"]


def test_a_plugin_is_any_importable_subclass(tmp_path, monkeypatch):
    (tmp_path / "my_rules_for_test.py").write_text(
        "from dataclasses import dataclass\nfrom fedsonar.aggregate import Aggregator\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Halved(Aggregator):\n    factor: float = 0.5\n"
        "    def aggregate(self, updates, context):\n        return self.factor * updates.mean(dim=0)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    experiment = from_config({"aggregator": {"class_path": "my_rules_for_test.Halved", "init_args": {"factor": 0.25}}})
    assert experiment.aggregator.factor == 0.25
    assert to_config(experiment)["aggregator"]["class_path"] == "my_rules_for_test.Halved"


def test_public_paths_are_written():
    assert to_config(Experiment())["aggregator"] == {"class_path": "fedsonar.aggregate.FedAvg", "init_args": {}}
    assert isinstance(Experiment().aggregator, FedAvg)
