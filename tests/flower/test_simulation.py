"""The same federation in process and on Flower's simulation."""

import threading
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from fedsonar import Experiment, run
from fedsonar.aggregate import FLTrust
from fedsonar.data import IID, Atlas
from fedsonar.experiment import ConfigError
from fedsonar.flower.simulation import simulate
from fedsonar.measure import Evaluation
from fedsonar.poison import Attack, ConstantRate
from fedsonar.screen import Length

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("ray_alone"),
    pytest.mark.waits,
]

POISONED = Experiment(
    rounds=2, data=Atlas(train=60, test=40), partition=IID(clients=4), evaluation=Evaluation(rows=20, every=2),
    attack=Attack(placement=ConstantRate(affected=0.5, rate=0.3)),
)  # fmt: skip
SAMPLED = replace(
    POISONED, clients_per_round=3, aggregator=FLTrust(root_rows=4), bsnr=replace(POISONED.bsnr, twins=True),
    screen=Length(),
)  # fmt: skip


@pytest.fixture(autouse=True)
def eager_workers(monkeypatch):
    monkeypatch.setenv("RAY_worker_niceness", "0")  # otherwise they wait for all other tests


@pytest.mark.parametrize(
    "experiment", [POISONED, SAMPLED], ids=["all clients", "sampled, with the server's rows, twins and a screen"]
)
def test_a_simulation_gives_what_one_process_gives(experiment, tmp_path):
    here = run(experiment, out=tmp_path / "here")
    there = simulate(experiment, out=tmp_path / "there", workers=2)
    assert float((here.adapter - there.adapter).abs().max()) < 1e-5
    assert (tmp_path / "here" / "summary.json").read_bytes() == (tmp_path / "there" / "summary.json").read_bytes()
    one, other = (pq.read_table(tmp_path / name / "clients.parquet").to_pylist() for name in ("here", "there"))
    assert [(r["round"], r["client"], r["rows"], r["steps"], r["refused"]) for r in one] == [
        (r["round"], r["client"], r["rows"], r["steps"], r["refused"]) for r in other
    ]
    assert [r["loss"] for r in one] == pytest.approx([r["loss"] for r in other], rel=1e-4)


def test_a_simulation_without_ray_ends_and_says_why(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    threads = set(threading.enumerate())
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"RAY_ADDRESS 127.0.0.1:1: no Ray cluster there; start one with"):
        simulate(POISONED, out=tmp_path)

    def no_room(**options):
        raise RuntimeError("no space left")

    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setattr(ray, "init", no_room)
    with pytest.raises(ConfigError, match="Ray does not start on this machine: no space left"):
        simulate(POISONED, out=tmp_path)
    assert all(thread.daemon for thread in set(threading.enumerate()) - threads)  # none keeps the process
