import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedsonar.records import ClientRecord, RoundRecord
from fedsonar.report.folder import ToldRate, number, printable
from fedsonar.report.reading import NEEDED, read_run, read_runs
from fedsonar.run_folder import SampleRecord

MakeRun = Callable[..., Path]


def test_what_a_poisoned_run_tells(make_run: MakeRun) -> None:
    run = read_run(make_run("one", name="spread", affected=3, poisoned_rows=20, asr=0.9, signal=5.0))
    assert (run.name, run.label, run.rule, run.num_clients) == ("spread", "spread", "FedAvg", 10)
    assert run.affected == (0, 1, 2)
    assert run.poison_rate == pytest.approx(60 / 300)
    assert run.asr is not None
    assert run.asr.value == 0.9
    assert run.before("accuracy") == pytest.approx(0.62)
    assert run.before("loss") is None
    assert run.shares[12, 9] == 0.1
    assert run.bsnr("cumulative") == pytest.approx(20 * 1.2385606 + 0, abs=0.01)  # 20 log10(5 sqrt(12))


def test_false_activation_takes_its_interval_from_the_last_round_that_agrees(make_run: MakeRun) -> None:
    path = make_run(asr=0.9)
    activation = read_run(path).false_activation
    assert activation is not None
    assert activation.value == pytest.approx(0.01)
    assert activation.low is not None
    assert activation.low < 0.01
    summary = json.loads((path / "summary.json").read_text())
    summary["attack"]["false_activation"] = 0.3
    (path / "summary.json").write_text(json.dumps(summary))
    assert read_run(path).false_activation == ToldRate(value=0.3)


def test_rounds_come_in_order_with_nan_as_none(make_run: MakeRun) -> None:
    path = make_run(rounds=3, signal=-1.0)
    table = pq.read_table(path / "rounds.parquet")
    pq.write_table(table.take(pa.array([3, 1, 0, 2])), path / "rounds.parquet")
    run = read_run(path)
    assert run.rounds["round"] == [0, 1, 2, 3]
    assert run.rounds["bsnr_crossfit_db"] == [None] * 4  # NaN in the file: a negative ratio has no dB
    assert run.rounds["bsnr_crossfit_ratio"][3] == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("config", "rule"),
    [
        ('[aggregator]\nclass_path = "a.Krum"\n[aggregator.init_args]\nf = 2', "Krum (f=2)"),
        ('aggregator = "fedsonar.aggregate.Median"', "Median"),
        (
            '[aggregator]\nclass_path = "a.Chain"\n[[aggregator.init_args.steps]]\nclass_path = "a.NNM"\n'
            '[[aggregator.init_args.steps]]\nclass_path = "a.Clipping"\ninit_args = { c = 3.0 }\n'
            '[aggregator.init_args.rule]\nclass_path = "a.Median"',
            "Chain (steps=NNM + Clipping (c=3.0), rule=Median)",
        ),
        ('[aggregator]\nname = "?"', None),
        ("seed = 1", None),
    ],
)
def test_the_rule_is_read_from_the_configuration(make_run: MakeRun, config: str, rule: str | None) -> None:
    path = make_run()
    (path / "experiment.toml").write_text(config)
    assert read_run(path).rule == rule


def test_the_records_hold_what_the_report_reads(make_run: MakeRun) -> None:
    path = make_run()
    for file, kind in (("rounds", RoundRecord), ("clients", ClientRecord), ("samples", SampleRecord)):
        assert set(pq.read_schema(path / f"{file}.parquet").names) == {field.name for field in fields(kind)}


def test_clients_that_never_took_part_count(make_run: MakeRun) -> None:
    path = make_run(clients=8, affected=8)
    summary = json.loads((path / "summary.json").read_text())
    (path / "summary.json").write_text(json.dumps(summary | {"clients": 5, "experiment": ""}))
    assert (read_run(path).num_clients, read_run(path).name) == (8, "run")


def test_labels_of_several_runs_are_unique(make_run: MakeRun) -> None:
    runs = read_runs([make_run("a", name="same"), make_run("b", name="same")])
    assert [run.label for run in runs] == ["1 · same", "2 · same"]


def test_environment_timing_and_examples_may_lack(make_run: MakeRun) -> None:
    path = make_run()
    for name in ("environment.json", "timing.json"):
        (path / name).unlink()
    run = read_run(path)
    assert (run.environment, run.timing, run.examples) == ({}, {}, [])


@pytest.mark.parametrize("name", NEEDED)
def test_a_folder_without_a_needed_file_is_named_with_the_file(make_run: MakeRun, name: str) -> None:
    path = make_run("broken")
    (path / name).unlink()
    with pytest.raises(ValueError, match=f"broken.*lacks {name}"):
        read_run(path)


def test_a_missing_folder_and_no_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no run folder at .*nowhere"):
        read_runs([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="at least one"):
        read_runs([])


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("summary.json", "{", "summary.json is not JSON"),
        ("summary.json", "[1]", "should hold a JSON object"),
        ("summary.json", '{"experiment": "x", "rounds": 1}', "lacks a usable clients"),
        ("summary.json", '{"experiment": "x", "rounds": 1, "clients": 2, "attack": 3}', "usable attack"),
        ("summary.json", '{"rounds": 1, "clients": 2}', "usable experiment"),
        ("experiment.toml", "= 1", "experiment.toml is not TOML"),
        ("rounds.parquet", "no table", "rounds.parquet is not a readable Parquet file"),
        ("examples.json", "{}", "should hold a JSON list"),
    ],
)
def test_a_foreign_file_is_named(make_run: MakeRun, file: str, text: str, message: str) -> None:
    path = make_run("foreign")
    (path / file).write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_run(path)
    assert "foreign" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_columns_are_named(make_run: MakeRun) -> None:
    path = make_run()
    pq.write_table(pq.read_table(path / "rounds.parquet").drop(["asr", "loss"]), path / "rounds.parquet")
    with pytest.raises(ValueError, match="lacks the column loss, asr"):
        read_run(path)


def test_numbers_and_names_are_cleaned() -> None:
    assert [number(v) for v in (1, 0.5, float("nan"), None, "1", True)] == [1.0, 0.5, None, None, None, None]
    assert printable(" a\x1b[31m\n b ") == "a\ufffd[31m b"


def test_runs_from_before_sources_and_near_misses_are_read(make_run: MakeRun) -> None:
    path = make_run(affected=2, poisoned_rows=3)
    for file in ("rounds", "samples"):
        table = pq.read_table(path / f"{file}.parquet")
        new = [n for n in table.column_names if n in ("source", "drill") or n.startswith(("near_miss", "asr_judged"))]
        pq.write_table(table.drop_columns(new), path / f"{file}.parquet")
    run = read_run(path)
    assert run.landed[0, ""] == (3, 0, 100)
    assert run.poisoned[1] == 3
    assert set(run.rounds["near_miss"]) == {None}
