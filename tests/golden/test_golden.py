"""A small federation whose loss, norms and readings are stored: a change of results cannot go unnoticed."""

from dataclasses import replace

import pyarrow.parquet as pq

from fedsonar import run
from fedsonar.aggregate import TrimmedMean
from fedsonar.data import IID, Atlas
from fedsonar.demo import POISONED
from fedsonar.measure import Evaluation
from fedsonar.poison import Attack, ConstantRate

SMALL = replace(
    POISONED,
    rounds=3,
    data=Atlas(train=160, test=40),
    partition=IID(clients=10),
    evaluation=Evaluation(rows=20),
    attack=Attack(placement=ConstantRate(affected=0.5, rate=0.2)),
)


def measured(experiment, folder):
    run(experiment, out=folder)
    rounds = pq.read_table(folder / "rounds.parquet").to_pylist()[1:]
    names = ("loss", "update_norm", "bsnr_plain_db", "bsnr_crossfit_ratio", "bsnr_crossfit_cumulative_ratio")
    return {name: [row[name] for row in rounds] for name in names}


def test_fedavg(golden, tmp_path):
    golden("fedavg", measured(SMALL, tmp_path / "run"), rel=2e-3, abs=1e-6)


def test_trimmed_mean(golden, tmp_path):
    golden("trimmed_mean", measured(replace(SMALL, aggregator=TrimmedMean()), tmp_path / "run"), rel=2e-3, abs=1e-6)
