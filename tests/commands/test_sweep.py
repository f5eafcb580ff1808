"""Sweeps from the command line: their table, failures, and what survives a kill."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fedsonar.cli import main
from fedsonar.records import RoundRecord

TOML = """
rounds = 2
[data]
class_path = "fedsonar.data.Atlas"
[data.init_args]
train = 40
test = 20
[partition]
class_path = "fedsonar.data.IID"
[partition.init_args]
clients = 4
[evaluation]
rows = 4
[attack.placement]
class_path = "fedsonar.poison.ConstantRate"
[attack.placement.init_args]
rate = 0.2
"""
RATES = "--grid=attack.placement.rate=0.1,0.3"


@pytest.fixture
def path(tmp_path):
    (tmp_path / "small.toml").write_text(TOML)
    return tmp_path / "small.toml"


def written(out):
    return {folder.name: (folder / "summary.json").stat().st_mtime_ns for folder in out.iterdir() if folder.is_dir()}


def test_a_sweep_leaves_one_table_and_grows(path, tmp_path, capsys):
    out = tmp_path / "grid"
    assert main(["sweep", str(path), RATES, "--out", str(out), "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    assert "rate" in shown
    assert "accuracy" in shown
    first = written(out)
    assert set(first) == {"rate=0.1,seed=0", "rate=0.3,seed=0"}
    arguments = ["sweep", str(path), RATES, "--seeds", "2", "--out", str(out), "--workers", "2", "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == {
        "table": str(out / "sweep.parquet"),
        "report": str(out / "report.html"),
        "cells": 4,
    }
    assert first.items() <= written(out).items()  # finished runs stay as they are
    rows = pq.read_table(out / "sweep.parquet").to_pylist()
    assert len(rows) == 4 * 3
    assert set(RoundRecord.__dataclass_fields__) < set(rows[0])
    last = {row["cell"]: row for row in rows if row["round"] == 2}
    assert last["rate=0.3,seed=1"]["attack.placement.rate"] == 0.3
    assert last["rate=0.3,seed=1"]["seed"] == 1
    assert last["rate=0.3,seed=1"]["poisoned_rows"] > last["rate=0.1,seed=1"]["poisoned_rows"] > 0


def test_failed_runs_are_named_and_tried_again_on_request(path, tmp_path, capsys):
    out = tmp_path / "grid"
    arguments = ["sweep", str(path), "--grid=clients_per_round=2,9", "--out", str(out), "--workers", "1"]
    for more in ([], ["--retry"]):
        assert main(arguments + more) == 1
        said = capsys.readouterr().err
        assert "1 of 2 runs failed, try them again with --retry: clients_per_round=9,seed=0: " in said
        assert "clients_per_round 9 is more than the 4 clients" in said
    assert {row["cell"] for row in pq.read_table(out / "sweep.parquet").to_pylist()} == {"clients_per_round=2,seed=0"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--grid=rounds"], "path=value"),
        (["--grid=rounds=0"], "rounds must be at least 1"),
        (["--workers", "0"], "--workers must be at least 1, got 0"),
        (["--seeds", "0"], "--seeds must be at least 1, got 0"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_anything_runs(path, tmp_path, capsys, arguments, said):
    assert main(["sweep", str(path), "--out", str(tmp_path / "grid"), *arguments]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert len(message.splitlines()) == 1
    assert not (tmp_path / "grid").exists()


def test_a_changed_experiment_does_not_pass_for_the_old_one(path, tmp_path, capsys):
    arguments = ["sweep", str(path), "--out", str(tmp_path / "grid"), "--workers", "1"]
    assert main(arguments) == 0
    capsys.readouterr()
    path.write_text(TOML.replace("rate = 0.2", "rate = 0.4"))
    assert main(arguments) == 2
    assert "holds a run of another experiment" in capsys.readouterr().err


def test_the_folder_of_a_single_run_is_refused(path, tmp_path, capsys):
    (tmp_path / "experiment.toml").write_text(TOML)
    assert main(["sweep", str(path), RATES, "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"fedsonar: {str(tmp_path)!r} holds a run; choose another --out\n"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal there")
def test_a_killed_sweep_goes_on_and_loses_no_finished_run(path, tmp_path):
    out = tmp_path / "grid"
    grid = "--grid=attack.placement.rate=0.1,0.15,0.2,0.25,0.3"
    command = [sys.executable, "-m", "fedsonar", "sweep", str(path), grid, "--out", str(out), "--workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sweep:
        deadline = time.monotonic() + 400
        while not list(out.glob("*/summary.json")) and time.monotonic() < deadline and sweep.poll() is None:
            time.sleep(0.05)
        sweep.send_signal(signal.SIGKILL)
    finished = {folder.parent.name for folder in out.glob("*/summary.json")}
    assert 1 <= len(finished) < 5
    before = {name: Path(out / name / "summary.json").stat().st_mtime_ns for name in finished}
    time.sleep(1.0)  # the killed command's worker ends by itself
    assert main(["sweep", str(path), grid, "--out", str(out), "--workers", "1"]) == 0
    after = written(out)
    assert len(after) == 5
    assert before.items() <= after.items()
