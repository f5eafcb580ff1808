"""The page on tables: every column that a run and a sweep write stands on it, and none besides."""

import re

import pyarrow.parquet as pq

from check_docs import ROOT
from fedsonar import Experiment, run
from fedsonar.data import IID, Atlas
from fedsonar.measure import Evaluation
from fedsonar.model import Lora
from fedsonar.poison import Attack, ConstantRate, Short
from fedsonar.screen import ResponseNgrams
from fedsonar.sweep.grid import Cell
from fedsonar.sweep.table import write_sweep
from tiny import tiny_base

RATE = "attack.placement.rate"


def told():
    """File -> columns on the page, in their order."""
    found = {}
    for part in (ROOT / "docs" / "columns.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        rows = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
        found[part.split("\n")[0]] = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    return found


def test_the_page_tells_every_column_that_is_written(tmp_path):
    placement = ConstantRate(affected=0.5, rate=0.25)
    experiment = Experiment(
        rounds=1, base=tiny_base(), lora=Lora(r=2, alpha=4), data=Atlas(train=48, test=20), partition=IID(clients=6),
        evaluation=Evaluation(rows=4), attack=Attack(target=Short(), placement=placement), screen=ResponseNgrams(),
    )  # fmt: skip
    run(experiment, out=tmp_path / "run")
    write_sweep([Cell("run", {RATE: 0.25}, experiment)], tmp_path)
    written = {path.name: pq.read_schema(path).names for path in tmp_path.rglob("*.parquet")}
    pages = told()
    of_sweeps, added = written.pop("sweep.parquet"), pages.pop("sweep.parquet")
    assert pages == written
    assert [name for name in of_sweeps if name not in pages["rounds.parquet"]] == [*added[:2], RATE, *added[2:]]
