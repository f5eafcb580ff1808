"""The command, from its arguments to its JSON and its tables."""

import json

import pytest
from rich.console import Console

from fedsonar.bench.show import tables
from fedsonar.cli import main

SMALL = ["--models", "tiny", "--rows-like", "webqa", "--rows", "5", "--repeats", "1", "--dtype", "float32"]


def test_parts_end_to_end(tmp_path, capsys):
    out = tmp_path / "speed.json"
    arguments = ["bench", "engine", "round", "scaling", *SMALL, "--clients", "2", "--test-rows", "3"]
    assert main([*arguments, "--json", "--out", str(out)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads(out.read_text())
    assert result["options"]["clients"] == [2]
    assert result["environment"]["threads"] == 1
    sides = [(r["part"], r["clients"], r["side"]) for r in result["records"]]
    pair = ["PEFT float32", "FedSonar float32"]
    assert sides == [(part, 2, side) for part in ("engine", "round") for side in pair] + [("scaling", 2, pair[1])]
    for record in result["records"]:
        assert 0 < record["start_mb"] <= record["peak_mb"]
        assert record["rows_per_second"] == pytest.approx(5 * record["clients"] / record["seconds"])
        if record["side"] == "FedSonar float32" and record["part"] != "scaling":
            assert record["n"] == 1
            assert 0 < record["low"] == record["times_peer"] == record["high"]
            assert record["update_difference"] < 1e-2
        if record["part"] == "engine":
            assert record["executed_gflop"] < record["needed_gflop"]  # rows of a batch share the instruction
            reached = record["executed_gflop"] / record["seconds"] / record["peak_gflop_per_second"]
            assert record["fraction_of_peak"] == pytest.approx(reached)
        if record["part"] == "round":
            assert record["answers"] == 6
    shown = Console(width=100, record=True, quiet=False)
    with shown.capture() as captured:
        for table in tables(result["records"]):
            shown.print(table)
    text = captured.get()
    assert "Whole rounds: training, FedAvg" in text
    assert f"{result['records'][1]['times_peer']:.2f} [" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--repeats", "0"], "repeats must be at least 1, got 0"),
        (["--clients", "5", "0"], "clients must be at least 1, got 0"),
        (["--device", "cuda"], "--device cuda"),
        (["--seed", "1", "engines"], "no part 'engines'; choose among engine, round, flower, scaling"),
    ],
)
def test_wrong_usage_is_one_line(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["bench", *SMALL, *arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


def test_unknown_names_exit_2(capsys):
    for arguments in (["--models", "13b"], ["--lora", "qkv"]):
        with pytest.raises(SystemExit) as caught:
            main(["bench", *arguments])
        assert caught.value.code == 2
    assert "15m" in capsys.readouterr().err


def test_a_folder_without_rows_is_one_line(tmp_path, capsys):
    assert main(["bench", *SMALL, "--data", str(tmp_path)]) == 2
    assert "no train file" in next(line for line in capsys.readouterr().err.splitlines() if "fedsonar:" in line)
