"""The part ``screens``: both sides find the same features, and the record says how far apart they are."""

import pytest

from fedsonar.bench.options import Options
from fedsonar.bench.screens import FORWARD
from fedsonar.bench.suite import measure


def test_ours_and_the_published_procedures_find_the_same():
    options = Options(rows=("freebaseqa",), clients=(3,), rows_each=4, repeats=1, dtypes=("float32",))
    records = list(measure(["screens"], options))
    sides = {"GradSentry": "published", "ProtegoFed": "published", "GradientShift": FORWARD}
    assert [(record["lora"], record["side"]) for record in records] == [
        (name, side) for name, peer in sides.items() for side in ("FedSonar", peer)
    ]
    for record in records:
        assert record["count"] == 12
        assert record["milliseconds_per_row"] == pytest.approx(1000 * record["seconds"] / 12)
        assert record["grown_mb"] >= 0
    passes = records[4]
    assert passes["low"] <= passes["forward_passes"] <= passes["high"]
    for ours in records[:4:2]:
        assert ours["difference"] < 1e-4
        assert ours["low"] <= ours["times_peer"] <= ours["high"]
        assert ours["n"] == 1
