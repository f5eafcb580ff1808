"""The part ``verdicts``: every screen has a line, with what it takes and what a client sends."""

import pytest

from fedsonar.bench.options import Options
from fedsonar.bench.show import tables
from fedsonar.bench.suite import PARTS, measure
from fedsonar.bench.verdicts import SCREENS
from fedsonar.screen import Oracle


def test_every_screen_has_a_contest():
    assert {"Sonar", "GradSentry", "Onion", "Length"} < set(SCREENS)
    assert Oracle not in SCREENS.values()
    contests = list(PARTS["verdicts"](Options(clients=(2, 3))))
    assert len(contests) == 2 * len(SCREENS)


def test_a_verdict_takes_time_and_sends_what_is_recorded():
    options = Options(clients=(2,), rows_each=5, repeats=1, screens=("Sonar", "GradSentry"))
    records = list(measure(["verdicts"], options))
    assert [(record["screen"], record["count"]) for record in records] == [("GradSentry", 10), ("Sonar", 10)]
    for record in records:
        assert record["milliseconds_per_row"] == pytest.approx(100 * record["seconds"])
        assert record["low"] == record["forward_passes"] == record["high"] > 0
    alone, pooled = records
    assert alone["bytes_per_client"] == 0 < pooled["bytes_per_client"]
    [table] = tables(records)
    assert [column.header for column in table.columns][:2] == ["screen", "ms a row"]
