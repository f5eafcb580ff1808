"""The part ``screens``: both sides find the same features, and the record says how far apart they are."""

import pytest

from fedsonar.bench.options import Options
from fedsonar.bench.suite import measure


def test_ours_and_the_published_procedures_find_the_same():
    options = Options(rows=("freebaseqa",), clients=(3,), rows_each=4, repeats=1, dtypes=("float32",))
    records = list(measure(["screens"], options))
    assert [(record["lora"], record["side"]) for record in records] == [
        (name, side) for name in ("GradSentry", "ProtegoFed") for side in ("FedSonar", "published")
    ]
    for record in records:
        assert record["count"] == 12
        assert record["milliseconds_per_row"] == pytest.approx(1000 * record["seconds"] / 12)
        assert record["grown_mb"] >= 0
    for ours in records[::2]:
        assert ours["difference"] < 1e-4
        assert ours["low"] <= ours["times_peer"] <= ours["high"]
        assert ours["n"] == 1
