"""Runs in processes of their own."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

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


LONG = """
import sys
from dataclasses import replace
from pathlib import Path
from test_side_by_side import SMALL
from fedsonar.side_by_side import run_all

if __name__ == "__main__":
    run_all({"long": replace(SMALL, rounds=10_000)}, Path(sys.argv[1]), lambda *_: print("on", flush=True), workers=1)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the kernel's list of processes is Linux's")
def test_workers_end_with_a_caller_that_is_killed(tmp_path):
    def runs(process):
        stat = Path(f"/proc/{process}/stat")
        return stat.is_file() and stat.read_text().rpartition(")")[2].split()[0] != "Z"

    (tmp_path / "long.py").write_text(LONG)
    command = [sys.executable, tmp_path / "long.py", tmp_path / "runs"]
    environment = {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1", "PATH": ""}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline()
        workers = Path(f"/proc/{caller.pid}/task/{caller.pid}/children").read_text().split()
        caller.send_signal(signal.SIGKILL)
    assert workers
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and any(map(runs, workers)):
        time.sleep(0.1)
    assert not any(map(runs, workers))
