"""Runs in processes of their own."""

from dataclasses import replace

import pytest

from fedsonar import Experiment
from fedsonar.data import IID, Atlas
from fedsonar.measure import Evaluation
from fedsonar.side_by_side import run_all

SMALL = Experiment(rounds=2, data=Atlas(train=24, test=20), partition=IID(clients=4), evaluation=Evaluation(rows=4))


def test_finished_runs_stay_and_stopped_ones_go_on(tmp_path):
    experiments = {"a": SMALL, "b": replace(SMALL, seed=1, rounds=1)}
    seen = []
    folders = run_all(experiments, tmp_path / "demo", lambda name, p: seen.append((name, p.stage, p.round)), workers=2)
    assert folders == [tmp_path / "demo" / "a", tmp_path / "demo" / "b"]
    assert ("a", "round", 2) in seen
    assert ("b", "round", 1) in seen
    written = (folders[0] / "summary.json").stat().st_mtime_ns
    (folders[1] / "summary.json").unlink()
    run_all(experiments, tmp_path / "demo", lambda *_: None, workers=1)
    assert (folders[0] / "summary.json").stat().st_mtime_ns == written
    assert (folders[1] / "summary.json").is_file()


def test_an_error_in_one_run_reaches_the_caller(tmp_path):
    with pytest.raises(ValueError, match="clients_per_round 9 is more than the 4 clients"):
        run_all({"bad": replace(SMALL, clients_per_round=9)}, tmp_path, lambda *_: None, workers=1)
