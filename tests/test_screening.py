"""Screens in the loop: who trains on what, what is kept on disk, and what a stop leaves."""

import json
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from fedsonar import Experiment, run
from fedsonar.audit import Privacy
from fedsonar.data import IID, Atlas
from fedsonar.engine import FusedEngine, Training
from fedsonar.experiment import Bsnr, load, to_toml
from fedsonar.measure import Evaluation
from fedsonar.model import Lora
from fedsonar.poison import Attack, ConstantRate
from fedsonar.preparation import Federation
from fedsonar.screen import Above, Association, Length, Oracle, ResponseNgrams, Screen, Threshold
from tiny import tiny_base

SMALL = Experiment(
    seed=3, rounds=2, base=tiny_base(), lora=Lora(r=4, alpha=8), data=Atlas(train=120, test=40),
    partition=IID(clients=6),
    training=Training(lr=3e-3), evaluation=Evaluation(rows=10),
    attack=Attack(placement=ConstantRate(affected=0.5, rate=0.25)), screen=Oracle(),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Everything(Screen):
    """Suspects whole clients.

    References:
        none: for tests.
    """

    clients: tuple[int, ...] = (0,)
    threshold: Threshold = field(default_factory=lambda: Above(value=0.5))
    text_alone: ClassVar[bool] = True

    def suspicion(self, silo, heard):
        return np.full(len(silo.samples), float(silo.client in self.clients))


@dataclass(frozen=True, kw_only=True)
class EveryThird(Screen):
    """Suspects one row of three.

    References:
        none: for tests.
    """

    threshold: Threshold = field(default_factory=lambda: Above(value=0.5))
    text_alone: ClassVar[bool] = True

    def suspicion(self, silo, heard):
        return (np.arange(len(silo.samples)) % 3 == 0).astype(float)


class Watching(FusedEngine):
    def __init__(self, experiment):
        federation = Federation(experiment)
        super().__init__(federation.network, experiment.training, seed=experiment.seed)
        self.jobs = []

    def train_round(self, jobs):
        self.jobs.append(list(jobs))
        return super().train_round(jobs)


@pytest.fixture(scope="module")
def screened(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "screened"
    return out, run(SMALL, out=out)


def test_flagged_rows_leave_training_and_the_weights(screened):
    _, done = screened
    rows = Federation(SMALL).rows
    for record in done.clients:
        poisoned = 5 if len(rows[record.client]) != record.rows else 0
        assert record.rows == len(rows[record.client]) - poisoned
        assert record.poisoned_rows == 0
    assert sum(record.rows for record in done.clients if record.round == 1) == 120 - 15
    for round in (1, 2):
        records = [record for record in done.clients if record.round == round]
        assert [r.weight for r in records] == pytest.approx([r.rows / 105 for r in records])


def test_without_poison_the_run_is_that_of_the_clean_rows_alone():
    """Row for row: an engine that is given the clean rows takes the same steps."""
    engine = Watching(SMALL)
    done = run(replace(SMALL, rounds=1), engine)
    ledger = Federation(SMALL).ledger
    assert all(row.id not in ledger for job in engine.jobs[0] for row in job.rows)
    expected = FusedEngine.train_round(engine, engine.jobs[0])
    weights = torch.tensor([len(job.rows) for job in engine.jobs[0]]) / 105
    step = sum(w * u.delta for w, u in zip(weights, expected, strict=True))
    assert torch.allclose(done.adapter, engine.jobs[0][0].start + step, atol=1e-6)


def test_summary_samples_and_the_record_of_what_left_clients(tmp_path):
    done = run(replace(SMALL, rounds=1, screen=ResponseNgrams()), out=tmp_path / "run")
    part = json.loads((tmp_path / "run" / "summary.json").read_text())["screen"]
    table = pq.read_table(tmp_path / "run" / "samples.parquet").to_pylist()
    flagged = [row["flagged"] for row in table]
    assert part["rows"] == sum(flagged)
    hit = sum(row["flagged"] and row["poisoned"] for row in table)
    assert part["recall"] == pytest.approx(hit / 15)
    assert part["recall_low"] <= part["recall"] <= part["recall_high"]
    assert part["false_removal"] == pytest.approx((sum(flagged) - hit) / 105)
    assert all(0 < row["suspicion"] <= 1 for row in table)
    sent = pq.read_table(tmp_path / "run" / "screen.parquet").to_pylist()
    assert len(sent) == 12  # two tables of each of six clients
    counts = [row for row in sent if row["name"] == "counts"]
    assert {(row["dtype"], row["shape"], row["bytes"], row["additive"]) for row in counts} == {
        ("int32", str(2**17), 4 * 2**17, True)
    }
    assert [record.client for record in done.sent if record.name == "counts"] == list(range(6))


@pytest.mark.filterwarnings("ignore:slot_bits=6 is small")
def test_what_leaves_under_privacy_says_so_and_is_the_same_in_every_run_of_a_seed(tmp_path):
    screen = Association(bits=16, pair_bits=12, slot_bits=6, privacy=Privacy(epsilon=2.0, clients=6))
    first, again = (run(replace(SMALL, rounds=1, screen=screen), out=tmp_path / name) for name in ("one", "other"))
    for record in pq.read_table(tmp_path / "one" / "screen.parquet").to_pylist():
        assert record["epsilon"] == 2
        assert record["additive"]
    assert torch.equal(first.tensors["screen.suspicion"], again.tensors["screen.suspicion"])
    plain = run(replace(SMALL, rounds=1, screen=replace(screen, privacy=None)), out=tmp_path / "plain")
    assert {record.epsilon for record in plain.sent} == {None}


def test_nothing_leaves_a_client_that_judges_alone(screened):
    out, done = screened
    assert done.sent == []
    assert not (out / "screen.parquet").exists()


def test_a_client_without_rows_takes_no_part():
    done = run(replace(SMALL, screen=Everything(clients=(0, 4))))
    assert {record.client for record in done.clients} == {1, 2, 3, 5}


def test_a_screen_that_leaves_nothing_ends_the_run_with_words():
    with pytest.raises(ValueError, match="leaves no row to the 6 clients of round 1"):
        run(replace(SMALL, screen=Everything(clients=tuple(range(6)))))


def test_twins_lose_the_same_rows():
    experiment = replace(SMALL, rounds=1, screen=EveryThird(), bsnr=Bsnr(twins=True))
    engine = Watching(experiment)
    run(experiment, engine)
    by_client = {}
    for job in engine.jobs[0]:
        by_client.setdefault(job.client, []).append([row.id for row in job.rows])
    pairs = [lists for lists in by_client.values() if len(lists) == 2]
    assert pairs
    assert all(one == other for one, other in pairs)


def test_a_client_that_lost_all_its_poison_has_no_twin():
    experiment = replace(SMALL, rounds=1, screen=Oracle(), bsnr=Bsnr(twins=True))
    engine = Watching(experiment)
    done = run(experiment, engine)
    assert sorted(job.client for job in engine.jobs[0]) == list(range(6))
    assert {record.poisoned_rows for record in done.clients} == {0}


def test_rows_are_judged_anew_every_so_many_rounds():
    times = []

    def observe(progress):
        if progress.stage == "screen":
            times.append(progress.round)

    run(replace(SMALL, rounds=5, screen=Length(), screen_every=2), observe=observe)
    assert times == [1, 3, 5]
    times.clear()
    run(replace(SMALL, rounds=3, screen=Length()), observe=observe)
    assert times == [1]


def test_a_stopped_run_goes_on_with_its_verdicts(screened, tmp_path):
    whole, _ = screened

    class StopError(Exception):
        pass

    def stop(progress):
        if progress.stage == "round":
            raise StopError

    with pytest.raises(StopError):
        run(SMALL, out=tmp_path / "run", observe=stop)
    seen = []
    run(SMALL, out=tmp_path / "run", resume=True, observe=lambda progress: seen.append(progress.stage))
    assert "screen" not in seen
    for name in ("summary.json", "samples.parquet", "clients.parquet"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_screen_is_a_component_of_the_experiment(tmp_path):
    experiment = replace(SMALL, screen=Length(threshold=Above(value=12)), screen_every=3)
    (tmp_path / "e.toml").write_text(to_toml(experiment))
    assert load(tmp_path / "e.toml") == experiment
    assert load(tmp_path / "e.toml", ["screen.threshold.value=4"]).screen == Length(threshold=Above(value=4))
    assert "screen" not in to_toml(replace(SMALL, screen=None))
