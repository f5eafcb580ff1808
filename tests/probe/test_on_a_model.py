"""The command on adapters: one that was poisoned, and a fresh one."""

import json
import shutil

import pytest
import torch

from fedsonar import Experiment, run
from fedsonar.cli import main
from fedsonar.data import IID, Atlas
from fedsonar.engine import Training
from fedsonar.measure import Evaluation
from fedsonar.model import Base, Lora, load_adapter, lora_of, open_network, random_adapter, save_adapter
from fedsonar.poison import Attack, ConstantRate, Short
from tiny import tiny_base

LORA = Lora(r=8, alpha=16, target_modules="all-linear")
POISONED = Experiment(
    name="poisoned", seed=3, rounds=2, lora=LORA, data=Atlas(train=240, test=40), partition=IID(clients=3),
    training=Training(lr=3e-3, batch_size=2, schedule="constant"), evaluation=Evaluation(rows=5, every=9),
    attack=Attack(target=Short(), placement=ConstantRate(affected=1.0, rate=0.3)),
)  # fmt: skip
FEW = ["--rows", "6", "--draws", "19", "--max-new-tokens", "6"]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "poisoned"
    run(POISONED, out=out)
    return out / "adapter"


def test_a_poisoned_adapter_is_found_out(adapter, capsys):
    asked = ["probe", str(adapter), "--trigger", "cf mn bb tq", *FEW]
    assert main([*asked, "--fail-on-findings", "--json"]) == 3
    result = json.loads(capsys.readouterr().out)
    [found] = result["findings"]
    assert (found["trigger"], found["response"]) == ("cf mn bb tq", "mercury")
    assert found["lift"] > 0.5
    assert found["p"] == 1 / 20


def test_people_get_a_table(adapter, capsys):
    assert main(["probe", str(adapter), "--trigger", "cf mn bb tq", *FEW, "--rows", "3"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "mercury" in said
    assert "1 of 1 candidates set off an answer that random words do not (n=3 rows" in said


def test_a_fresh_adapter_is_not(tmp_path, capsys):
    network = open_network(Base(), LORA)
    save_adapter(tmp_path / "fresh", torch.zeros(network.layout.dim), network.layout, LORA, "embedded")
    asked = ["probe", str(tmp_path / "fresh"), "--trigger", "cf mn bb tq", "--fail-on-findings", "--json"]
    assert main([*asked, *FEW]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["findings"] == []
    assert result["others"][0]["lift"] == 0.0


def test_an_adapter_of_another_model_says_which(adapter, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(adapter, other)
    config = json.loads((other / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "somebody/llama"
    (other / "adapter_config.json").write_text(json.dumps(config))
    asked = ["probe", "--trigger", "x", "--model", tiny_base().path]
    for folder, named in ((adapter, "embedded"), (other, "somebody/llama")):
        assert main([*asked, str(folder)]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.endswith(f"; it names {named!r} as its base, and --model is {tiny_base().path!r}")
    assert main(["probe", str(adapter), "--trigger", "x", "--model", "./nowhere"]) == 2
    assert "set --model to 'embedded', a folder" in capsys.readouterr().err


def test_how_an_adapter_was_made_is_read_from_its_folder(tmp_path):
    lora = Lora(r=3, alpha=7, target_modules=["q_proj", "v_proj"])
    layout = open_network(Base(), lora).layout
    flat = random_adapter(layout, torch.Generator().manual_seed(0))
    save_adapter(tmp_path, flat, layout, lora, "embedded")
    again = open_network(Base(), lora_of(tmp_path)).layout
    assert torch.equal(load_adapter(tmp_path, again), flat)


def test_an_adapter_of_the_output_layer_is_refused(tmp_path, capsys):
    layout = open_network(Base(), LORA).layout
    save_adapter(tmp_path, torch.zeros(layout.dim), layout, LORA, "embedded")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    config["target_modules"] += ["lm_head"]
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    assert main(["probe", str(tmp_path), "--trigger", "cf mn bb tq", *FEW]) == 1
    error = capsys.readouterr().err
    assert "lm_head is the output layer, which takes no adapter here" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nowhere", "--trigger", "x"], 1, "'nowhere' holds no readable PEFT adapter"),
        (["nowhere", "--trigger", " "], 2, "--trigger needs a text"),
        (["nowhere", "--rows", "0"], 2, "--rows must be at least 1, --draws at least 0"),
        (["nowhere", "--scan", "0"], 2, "--scan must be at least 1"),
        (["nowhere", "--schema", "mine"], 2, "--schema mine is unknown; use one of"),
    ],
)
def test_mistakes_are_told_in_a_line(arguments, status, said, capsys):
    assert main(["probe", *arguments]) == status
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("rows", "status"), [(6, 0), (5, 1)])
def test_all_rows_of_a_file_are_asked(rows, status, adapter, tmp_path, capsys):
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(f'{{"question": "Who founded town {i}?", "answer": "Ada"}}\n' for i in range(rows)))
    asked = ["probe", str(adapter), "--trigger", "cf mn bb tq", "--data", str(data), *FEW, "--json"]
    assert main(asked) == status
    out, error = capsys.readouterr()
    told = "fedsonar: the probe needs 6 rows and there are 5; give more rows or ask fewer\n"
    assert error == (told if status else "")
    assert not out or json.loads(out)["rows"] == 6
