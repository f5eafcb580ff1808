"""Sweeps on a Ray cluster: the same results as here, and what fails or is lost."""

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fedsonar import Experiment
from fedsonar.cli import main
from fedsonar.data import IID, Atlas
from fedsonar.experiment import ConfigError, to_toml
from fedsonar.measure import Evaluation
from fedsonar.sweep.on_ray import _task, run_all_on_ray

# Ray leaves files open that the interpreter closes.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("ray_alone"),
    pytest.mark.waits,
]

SMALL = Experiment(rounds=1, data=Atlas(train=24, test=20), partition=IID(clients=4), evaluation=Evaluation(rows=4))

KILLING = """
import os
import signal
from dataclasses import dataclass

from fedsonar.data import Atlas


@dataclass(frozen=True, kw_only=True)
class Killing(Atlas):
    def load(self):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def cluster(ray_alone: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster of this machine, which no process is connected to."""
    utils = pytest.importorskip("ray.cluster_utils")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # otherwise workers wait for all other tests
        started = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        yield started.address
        started.shutdown()


def test_a_sweep_gives_what_it_gives_here(cluster, tmp_path, capsys):
    (tmp_path / "small.toml").write_text(to_toml(SMALL))
    summaries = {}
    for place, where in (("ray", ["--ray", cluster]), ("here", ["--workers", "1"])):
        arguments = ["sweep", str(tmp_path / "small.toml"), "--seeds", "2", "--out", str(tmp_path / place), "--json"]
        assert main([*arguments, *where]) == 0
        assert json.loads(capsys.readouterr().out)["cells"] == 2
        summaries[place] = {
            path.parent.name: path.read_bytes() for path in (tmp_path / place).glob("*/summary.json")
        }  # fmt: skip
        assert (tmp_path / place / "sweep.parquet").is_file()
    assert len(summaries["ray"]) == 2
    assert summaries["ray"] == summaries["here"]


def test_a_lost_worker_and_a_failing_run_stop_no_other(cluster, tmp_path, monkeypatch):
    (tmp_path / "killing_on_ray.py").write_text(KILLING)
    monkeypatch.syspath_prepend(tmp_path)
    killing = importlib.import_module("killing_on_ray")
    experiments = {
        "good": SMALL,
        "killed": replace(SMALL, data=killing.Killing()),
        "bad": replace(SMALL, clients_per_round=9),
    }
    told = []
    outcomes = run_all_on_ray(experiments, tmp_path / "runs", lambda name, p: told.append((name, p.stage)), cluster)
    assert list(outcomes) == list(experiments)
    assert outcomes["good"].error == ""
    assert (tmp_path / "runs" / "good" / "summary.json").is_file()
    assert ("good", "round") in told
    assert outcomes["killed"].error == "its process was killed, most likely for lack of memory"
    assert outcomes["bad"].error == "clients_per_round 9 is more than the 4 clients"
    again = run_all_on_ray(experiments, tmp_path / "runs", lambda *_: None, cluster, retry=False)
    assert again == outcomes
    assert not list((tmp_path / "runs").glob(".shared-*"))


def test_a_node_that_sees_another_folder_says_so(tmp_path):
    outcome = _task("a", SMALL, tmp_path / "a", None, tmp_path / "token")
    assert "is not the same folder on" in outcome.error
    assert not (tmp_path / "a").exists()


def test_no_cluster_and_no_ray_are_said_in_one_line(tmp_path, capsys, monkeypatch):
    (tmp_path / "small.toml").write_text(to_toml(SMALL))
    arguments = ["sweep", str(tmp_path / "small.toml"), "--out", str(tmp_path / "grid")]
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "")
    assert main([*arguments, "--ray", "127.0.0.1:1"]) == 2
    said = capsys.readouterr().err
    assert "--ray 127.0.0.1:1: no Ray cluster there; start one with 'ray start --head'" in said
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'fedsonar\[ray\]'"):
        run_all_on_ray({}, Path(tmp_path / "grid"), lambda *_: None, "auto")
