"""Experiments as TOML: reading, overriding, writing back, and errors that say what to change."""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fedsonar import ConfigError, Experiment, run
from fedsonar.aggregate import NNM, Chain, FedAvg, Krum, TrimmedMean, WeakDP
from fedsonar.audit import Privacy
from fedsonar.data import Files, Sections
from fedsonar.demo import story
from fedsonar.experiment import from_config, load, to_config, to_toml
from fedsonar.poison import Attack, ConstantRate, Label, Sentence
from fedsonar.screen import Association, Onion, Outliers

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


def test_init_args_may_be_written_or_left_out_anywhere(tmp_path):
    for text in ('class_path = "fedsonar.aggregate.Krum"\ninit_args.f = 2', 'class_path = "Krum"\nf = 2', ""):
        path = write(tmp_path, f"[aggregator]\n{text}")
        named = [] if text else ["aggregator.class_path=Krum"]
        for spelled in ("aggregator.init_args.f=1", "aggregator.f=1"):
            assert load(path, [*named, spelled]).aggregator == Krum(f=1)
            assert load(path, [spelled, *named]).aggregator == Krum(f=1)
    screen = [f"screen.init_args.privacy.{value}" for value in ("epsilon=8", "clients=25")]
    private = Association(privacy=Privacy(epsilon=8, clients=25))
    assert load(path, ["screen.class_path=fedsonar.screen.Association", *screen]).screen == private
    assert load(path, ["screen.class_path=Onion", "screen=null"]).screen is None
    assert load(path, ["lora.init_args.r=2"]).lora.r == 2
    within = ['aggregator={class_path="Chain", steps=[{class_path="NNM", f=1}], rule={class_path="Krum"}}']
    assert load(path, within).aggregator == Chain(steps=(NNM(f=1),), rule=Krum())
    with pytest.raises(ConfigError, match="name one of the arguments"):
        load(path, ["aggregator.init_args={f=1}"])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["ronds=3"], "'ronds' is not accepted; did you mean 'rounds'? there are name, seed, rounds, "),
        (["screen.class_path=Sonar", "screen.treshold.value=3"], "screen: 'treshold' is not accepted by Sonar; "
         "did you mean 'threshold'? there are association, shift, gradient, threshold"),
        (["attack.placement.class_path=ConstantRate", "attack.placement.rat=.1"],
         "attack.placement: 'rat' is not accepted by ConstantRate; did you mean 'rate'? there are affected, rate"),
        (["attack.placement.class_path=Krum"], "attack.placement: there is no Placement 'Krum'; there are Const"),
        (["attack.placement.class_path=fedsonar.aggregate.Krum"], "there is no Placement 'fedsonar.aggregate.Krum'"),
        (["attack.placement=3"], "attack.placement must be a section with a class_path, got 3; there are Con"),
        (["attack.placement.rate=many"], "attack.placement.rate must be a number, got 'many'"),
        (["attack=ConstantRate"], "attack must be a section, got 'ConstantRate'; there are trigger, target, placement"),
        (["attack.target.class_path=Label"], "attack.target: Label needs label; set attack.target.label"),
        (["rounds=1.5"], "rounds must be a whole number, got 1.5"),
        (["space=facts"], "space must be one of 'factors', 'product', 'freeze-a', got 'facts'"),
        (["screen.kind=Sonar"], "screen needs a class_path; there are ActivationClustering, "),
        (["screen.class_path=no_such_module.Sonar"], "screen: No module named 'no_such_module'; modules are looked"),
        (["aggregator.class_path=Chain", 'aggregator.rule={class_path="Krum"}', 'aggregator.steps=[{class_path="NN"}]'],
         "aggregator.steps[0]: there is no PreAggregator 'NN'; did you mean 'NNM'? there are Bucketing, Clipping, "),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_told_with_what_could_stand_there(tmp_path, overrides, said):
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, ""), overrides)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "Union" not in str(caught.value)


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
        ("[training]\nlr = nan", "training.lr must be above 0, got nan"),
        ("[training]\nlr = inf", "training.lr must be finite, got inf"),
        ('[training]\nschedule = "cosine"', "schedule.*cosine"),
        ("rounds =", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(write(tmp_path, text))
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("shapes_unchecked")
def test_what_an_experiment_is_made_of_is_checked_by_name():
    for wrong, said in (
        ({"rounds": "x"}, "rounds must be a whole number, got 'x'"),
        ({"attack": ConstantRate()}, r"attack must be Attack or None, got ConstantRate\("),
        ({"aggregator": Krum}, "aggregator must be Aggregator, got <class"),
        ({"space": "facts"}, "space must be one of 'factors', 'product', 'freeze-a', got 'facts'"),
    ):
        with pytest.raises(TypeError, match=said):
            Experiment(**wrong)
    with pytest.raises(TypeError, match=r"run takes an Experiment, got 'kr.toml'; fedsonar.experiment.load reads one"):
        run("kr.toml")


def test_a_missing_file_and_a_bad_override_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*no\.toml"):
        load(tmp_path / "no.toml")
    with pytest.raises(ConfigError, match="not of the form path=value"):
        load(write(tmp_path, ""), ["rounds"])
    with pytest.raises(ConfigError, match="rounds is a value"):
        load(write(tmp_path, "rounds = 1"), ["rounds.x=2"])


def test_a_mark_in_front_and_line_ends_of_another_system_are_read(tmp_path):
    path = tmp_path / "marked.toml"
    path.write_bytes(b'\xef\xbb\xbfname = "marked"\r\nrounds = 3\r\n')
    assert load(path) == Experiment(name="marked", rounds=3)


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
