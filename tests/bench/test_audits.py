"""The part ``audit``: rows that are no copies of each other, and a record that adds up."""

import json

import pytest
from rich.console import Console

from fedsonar.bench.audits import write_rows
from fedsonar.bench.options import Options
from fedsonar.bench.show import tables
from fedsonar.bench.suite import measure


def test_rows_are_as_many_as_asked_for_and_the_same_again(tmp_path):
    for name in ("one", "other"):
        write_rows(tmp_path / name, 12_000, seed=0)
    lines = (tmp_path / "one").read_text().splitlines()
    assert lines == (tmp_path / "other").read_text().splitlines()
    assert len(lines) == 12_000
    assert json.loads(lines[0]).keys() == {"instruction", "context", "question", "answers"}
    assert sum(one == other for one, other in zip(lines[:2000], lines[10_000:], strict=True)) < 50


def test_the_record_says_what_the_audit_took():
    [record] = measure(["audit"], Options(audit_rows=600, repeats=1))
    assert record["count"] == 600
    assert record["bytes"] > 600 * 50
    assert next(iter(record["stages"])) == "reading"
    assert record["stages"].keys() > {"words", "features", "pairs", "checks", "judgement", "findings", "shifts"}
    assert sum(record["stages"].values()) == pytest.approx(record["seconds"], rel=0.2)
    assert record["rows_per_cpu_second"] == pytest.approx(600 / record["cpu_seconds"])
    assert 0 < record["start_mb"] <= record["peak_mb"]
    shown = Console(width=160, record=True)
    with shown.capture() as captured:
        for table in tables([record]):
            shown.print(table)
    assert "Audit of rows in a file" in captured.get()
