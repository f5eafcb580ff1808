"""A repair in a run: its part of the summary, its files, its clean rows, and a stop in the middle of it."""

import json
from dataclasses import replace

import pytest
import torch

from fedsonar import Experiment, run
from fedsonar.aggregate import FLTrust
from fedsonar.data import IID, Atlas
from fedsonar.experiment import from_config, load, to_config, to_toml
from fedsonar.measure import Evaluation
from fedsonar.model import Lora, load_adapter
from fedsonar.poison import Attack, Short
from fedsonar.preparation import Federation
from fedsonar.repair import CleanGen, FineMixing
from fedsonar.report.page import write_report
from fedsonar.report.terminal import comparison_table

SMALL = Experiment(
    name="small", rounds=1, lora=Lora(r=2, alpha=4), data=Atlas(train=30, test=40), partition=IID(clients=2),
    evaluation=Evaluation(rows=10), attack=Attack(target=Short()),
)  # fmt: skip
MIXED = replace(SMALL, repair=FineMixing(clean_rows=8, epochs=1))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "mixed"
    return out, run(MIXED, out=out)


def test_an_experiment_without_a_repair_is_written_as_before():
    assert "repair" not in to_config(SMALL)
    assert from_config(to_config(MIXED)) == MIXED


@pytest.mark.parametrize("changes", [{"repair": MIXED.repair}, {"aggregator": FLTrust(root_rows=8)}], ids=str)
@pytest.mark.filterwarnings("ignore:.* rows are longer than 8 tokens")
def test_clean_rows_of_which_none_fits_are_an_error(changes):
    with pytest.raises(ValueError, match="none of the server's 8 clean rows fits into 8 tokens; raise max_length"):
        Federation(replace(SMALL, max_length=8, **changes))


def test_the_summary_has_both_models(mixed):
    out, result = mixed
    summary = json.loads((out / "summary.json").read_text())
    assert summary == result.summary
    part = summary["repair"]
    assert (part["kind"], part["clean_rows"]) == ("FineMixing", 8)
    assert set(part["clean"]) == {"accuracy", "n", "low", "high"}
    assert {"success_rate", "n", "low", "high", "false_activation"} <= set(part["attack"])
    assert part["clean"]["n"] == summary["clean"]["n"] == 10
    layout = Federation(MIXED).layout
    assert torch.equal(load_adapter(out / "adapter", layout), result.adapter)
    assert not torch.equal(load_adapter(out / "repaired", layout), result.adapter)
    assert load(out / "experiment.toml") == MIXED


def test_everything_else_is_as_without_the_repair(tmp_path):
    def summary(experiment, name):
        run(experiment, out=tmp_path / name)
        return json.loads((tmp_path / name / "summary.json").read_text())

    guarded, bare = summary(replace(SMALL, repair=CleanGen()), "guarded"), summary(SMALL, "bare")
    assert bare.pop("repair") is None
    assert guarded.pop("repair")["kind"] == "CleanGen"
    assert guarded == bare
    assert not (tmp_path / "guarded" / "repaired").exists()
    one, other = (tmp_path / name / "adapter" / "adapter_model.safetensors" for name in ("guarded", "bare"))
    assert one.read_bytes() == other.read_bytes()


def test_clean_rows_are_asked_of_nobody_and_are_not_the_rules():
    federation = Federation(replace(MIXED, aggregator=FLTrust(root_rows=5)))
    examiner = federation.examiner
    clean, root = {row.id for row in federation.clean}, {row.id for row in federation.root}
    assert (len(clean), len(root)) == (8, 5)
    assert not clean & root
    assert not (clean | root) & {sample.id for sample in [*examiner.samples, *examiner.attacked_samples]}
    assert root == {row.id for row in Federation(replace(SMALL, aggregator=FLTrust(root_rows=5))).root}


def test_more_clean_rows_than_there_are_is_refused():
    with pytest.raises(ValueError, match=r"FineMixing takes 64 clean rows .* 40; bring .* or lower clean_row"):
        Federation(replace(SMALL, repair=FineMixing()))
    both = replace(SMALL, repair=FineMixing(clean_rows=30), aggregator=FLTrust(root_rows=20))
    with pytest.raises(ValueError, match=r"FLTrust takes 20 and FineMixing takes 30 clean rows"):
        Federation(both)


@pytest.mark.parametrize("stage", ["round", "repair"])
def test_a_run_stopped_before_or_in_its_repair_goes_on_to_the_same_bytes(mixed, tmp_path, stage):
    class StopError(Exception):
        pass

    def stop(progress):
        if progress.stage == stage:
            raise StopError

    out, _ = mixed
    with pytest.raises(StopError):
        run(MIXED, out=tmp_path / "part", observe=stop)
    assert not (tmp_path / "part" / "summary.json").exists()
    run(MIXED, out=tmp_path / "part", resume=True)
    for name in ("summary.json", "repaired/adapter_model.safetensors", "rounds.parquet"):
        assert (tmp_path / "part" / name).read_bytes() == (out / name).read_bytes()


def test_report_and_terminal_show_a_line_for_the_repaired_model(mixed, tmp_path):
    from rich.console import Console

    out, _ = mixed
    console = Console(width=200, record=True, file=(tmp_path / "log").open("w"))
    console.print(comparison_table([out]))
    text = console.export_text()
    console.file.close()
    assert "repaired" in text
    assert "FineMixing" in text
    page = write_report([out], tmp_path / "page.html").read_text()
    assert "small, repaired" in page
    assert to_toml(MIXED).count("[repair]") == 1
