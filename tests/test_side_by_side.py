"""Runs in processes of their own."""

import importlib
import signal
import subprocess
import sys
import time
import types
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from alive import runs
from fedsonar import Experiment, run
from fedsonar.data import IID, Atlas
from fedsonar.measure import Evaluation
from fedsonar.model import Lora
from fedsonar.preparation import Loaded
from fedsonar.side_by_side import folders, run_all

SMALL = Experiment(rounds=2, data=Atlas(train=24, test=20), partition=IID(clients=4), evaluation=Evaluation(rows=4))


def test_finished_runs_stay_and_stopped_ones_go_on(tmp_path):
    experiments = {"a": SMALL, "b": replace(SMALL, seed=1, rounds=1)}
    seen = []
    outcomes = run_all(experiments, tmp_path / "demo", lambda name, p: seen.append((name, p.stage, p.round)), workers=2)
    one, other = folders(outcomes)
    assert (one, other) == (tmp_path / "demo" / "a", tmp_path / "demo" / "b")
    assert ("a", "round", 2) in seen
    assert ("b", "round", 1) in seen
    written = (one / "summary.json").stat().st_mtime_ns
    (other / "summary.json").unlink()
    run_all(experiments, tmp_path / "demo", lambda *_: None, workers=1)
    assert (one / "summary.json").stat().st_mtime_ns == written
    assert (other / "summary.json").is_file()


def test_a_run_that_fails_stops_no_other_and_is_tried_again_when_asked(tmp_path):
    experiments = {"bad": replace(SMALL, clients_per_round=9), "good": replace(SMALL, rounds=1)}
    for retry in (True, False):
        outcomes = run_all(experiments, tmp_path, lambda *_: None, workers=1, retry=retry)
        assert outcomes["good"].error == ""
        assert outcomes["bad"].error == "clients_per_round 9 is more than the 4 clients"
    with pytest.raises(ValueError, match=r"bad: clients_per_round 9 is more than the 4 clients$"):
        folders(outcomes)
    mended = run_all({"bad": replace(SMALL, rounds=1)}, tmp_path, lambda *_: None, workers=1, retry=False)
    assert mended["bad"].error  # it keeps its error until it is tried again


def test_a_process_that_is_killed_fails_its_own_run_alone(tmp_path, monkeypatch):
    # Workers are new processes: they find the plugin that kills them where this one does.
    (tmp_path / "killing.py").write_text(KILLING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    killing = importlib.import_module("killing")
    experiments = {name: replace(SMALL, rounds=1, seed=seed) for seed, name in enumerate(("a", "c", "d"))}
    experiments["b"] = replace(SMALL, data=killing.Killing())
    outcomes = run_all(experiments, tmp_path / "runs", lambda *_: None, workers=2)
    assert {name for name, outcome in outcomes.items() if outcome.error} == {"b"}
    assert outcomes["b"].error == "its process was killed, most likely for lack of memory"
    assert all((tmp_path / "runs" / name / "summary.json").is_file() for name in "acd")


def test_processes_that_are_killed_before_they_begin_end_too(tmp_path, monkeypatch):
    (tmp_path / "killing_early.py").write_text(KILLING_EARLY)
    monkeypatch.syspath_prepend(tmp_path)
    killing = importlib.import_module("killing_early")
    experiments = {"bad": replace(SMALL, aggregator=killing.Early()), "good": replace(SMALL, rounds=1)}
    outcomes = run_all(experiments, tmp_path / "runs", lambda *_: None, workers=1)
    assert outcomes["bad"].error == "its process was killed, most likely for lack of memory"
    assert outcomes["good"].error == ""


def test_any_error_of_a_run_stops_no_other(tmp_path, monkeypatch):
    # Workers find the one plugin, and not the other, as none finds what was written in a notebook.
    (tmp_path / "faulty.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(tmp_path)
    faulty = importlib.import_module("faulty")
    notebook = types.ModuleType("notebook_here")
    exec(FAULTY, notebook.__dict__)
    monkeypatch.setitem(sys.modules, "notebook_here", notebook)
    experiments = {
        "bug": replace(SMALL, aggregator=faulty.Faulty()),
        "unknown": replace(SMALL, aggregator=notebook.Faulty()),
        "good": replace(SMALL, rounds=1),
    }
    outcomes = run_all(experiments, tmp_path / "runs", lambda *_: None, workers=1)
    assert {name: outcome.error for name, outcome in outcomes.items()} == {
        "bug": "KeyError: 'oops'", "unknown": "No module named 'notebook_here'", "good": "",
    }  # fmt: skip
    assert (tmp_path / "runs" / "bug" / "error.txt").read_text() == "KeyError: 'oops'"


def test_runs_of_one_process_share_data_and_model_and_give_what_they_give_alone():
    loaded = Loaded()
    other = replace(SMALL, seed=5, rounds=1)
    for experiment in (SMALL, other, replace(other, lora=Lora(r=2))):
        together, alone = run(experiment, loaded=loaded), run(experiment)
        assert together.rounds == alone.rounds
        assert torch.equal(together.adapter, alone.adapter)
    network = loaded.network(other.base, other.lora, checkpointing=False)
    assert loaded.network(other.base, other.lora, checkpointing=False) is network
    assert loaded.splits(SMALL.data) is loaded.splits(replace(SMALL).data)


KILLING = """
import os
import signal
from dataclasses import dataclass
from fedsonar.data import Source

@dataclass(frozen=True, kw_only=True)
class Killing(Source):
    def load(self):
        os.kill(os.getpid(), signal.SIGKILL)
"""


KILLING_EARLY = """
import os
from dataclasses import dataclass
from fedsonar.aggregate import FedAvg

@dataclass(frozen=True, kw_only=True)
class Early(FedAvg):
    def __reduce__(self):
        return os._exit, (1,)
"""


FAULTY = """
from dataclasses import dataclass
from fedsonar.aggregate import Aggregator

@dataclass(frozen=True, kw_only=True)
class Faulty(Aggregator):
    def aggregate(self, updates_ND, context):
        raise KeyError("oops")
"""


LONG = """
import sys
from dataclasses import replace
from pathlib import Path
from test_side_by_side import SMALL
from fedsonar.side_by_side import run_all

if __name__ == "__main__":
    run_all({"long": replace(SMALL, rounds=10_000)}, Path(sys.argv[1]), lambda *_: print("on", flush=True), workers=1)
"""


def descendants(process):
    """All that a process has started, and what these have."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [*children, *(one for child in children for one in descendants(child))]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the kernel's list of processes is Linux's")
def test_workers_end_with_a_caller_that_is_killed(tmp_path):
    (tmp_path / "long.py").write_text(LONG)
    command = [sys.executable, tmp_path / "long.py", tmp_path / "runs"]
    environment = {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1", "PATH": ""}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline()
        workers = descendants(caller.pid)
        caller.send_signal(signal.SIGKILL)
    assert len(workers) >= 3  # what forks the others, the one that passes on messages, and the one that runs
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and any(map(runs, workers)):
        time.sleep(0.1)
    assert not any(map(runs, workers))
