"""Records from what contenders measured."""

from dataclasses import replace

import numpy as np
import pytest

from fedsonar.bench.contenders import Trained
from fedsonar.bench.contest import Measured, Memory, Timing
from fedsonar.bench.flops import executed_flops, needed_flops
from fedsonar.bench.options import Options
from fedsonar.bench.parts import _engine_records, engine, scaling
from fedsonar.bench.scenario import Scenario

SCENARIO = Scenario(model="tiny", clients=2, rows_each=5, seed=1)


def measured(walls, result):
    return Measured([Timing(wall, 2 * wall) for wall in walls], [result] * len(walls), Memory(300.0, 400.0))


def test_training_against_peer_and_peak():
    rows, tokens = SCENARIO.train_rows, sum(row.length for row in SCENARIO.train_rows)
    sides = {
        "PEFT float32": measured([4.0, 6.0], Trained(np.array([3.0, 4.0]), 900, 300)),
        "FedSonar float32": measured([2.0, 2.0], Trained(np.array([3.0, 4.5]), 350, 300)),
        "FedSonar bfloat16": measured([1.0, 2.0], Trained(np.array([5.0, 5.0]), 200, 300)),
        "peak float32": Measured([Timing(1.0, 1.0)] * 2, [2e9, 4e9]),
        "peak bfloat16": Measured([Timing(1.0, 1.0)] * 2, [8e9, 6e9]),
    }
    peer, ours, half = _engine_records(SCENARIO, sides)
    assert "times_peer" not in peer
    assert (ours["times_peer"], ours["low"], ours["high"], ours["n"]) == (2.5, 2.0, 3.0, 2)
    assert ours["update_difference"] == pytest.approx(0.1)
    assert "update_difference" not in half  # other weights
    assert (ours["seconds"], ours["cpu_seconds"], ours["rows_per_second"]) == (2.0, 4.0, 5.0)
    assert ours["tokens_per_second"] == tokens / 2
    assert ours["needed_gflop"] == needed_flops(SCENARIO.shape, SCENARIO.layout, rows).total / 1e9
    done = executed_flops(SCENARIO.shape, SCENARIO.layout, rows, 300).total  # padding is given no credit
    assert ours["executed_gflop"] == peer["executed_gflop"] == done / 1e9
    assert ours["fraction_of_peak"] == pytest.approx(done / 2.0 / 4e9)  # the best of the peaks
    fewer = executed_flops(SCENARIO.shape, SCENARIO.layout, rows, 200).total
    assert half["fraction_of_peak"] == pytest.approx(fewer / 1.5 / 8e9)


def test_cost_a_row_is_compared_with_ten_clients():
    options = Options(models=("tiny",), rows=("webqa",), dtypes=("float32",), clients=(1, 10, 40))
    [contest] = scaling(options)
    assert list(contest.sides) == ["1 clients", "10 clients", "40 clients"]
    walls = {"1 clients": [0.2, 0.3], "10 clients": [1.0, 1.0], "40 clients": [4.4, 5.2]}
    one, ten, forty = contest.report({name: measured(wall, None) for name, wall in walls.items()})
    assert [r["times_cost_per_row"] for r in (one, ten, forty)] == pytest.approx([2.5, 1.0, 1.2])
    assert (forty["low"], forty["high"]) == pytest.approx((1.1, 1.3))
    assert forty["milliseconds_per_row"] == pytest.approx(4800 / (40 * 8))


def test_every_combination_is_a_contest_with_a_peak_for_each_dtype():
    options = Options(models=("tiny", "15m"), loras=("qv", "all-linear"), dtypes=("bfloat16",), repeats=3)
    contests = list(engine(options))
    assert len(contests) == 8
    assert list(contests[0].sides) == ["PEFT float32", "FedSonar bfloat16", "peak float32", "peak bfloat16"]
    assert contests[0].turns == 16
    [alone] = engine(replace(options, models=("tiny",), loras=("qv",), rows=("webqa",), peers=False))
    assert list(alone.sides) == ["FedSonar bfloat16", "peak bfloat16"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": ("13b",)}, "'13b' is unknown; choose among tiny, embedded"),
        ({"rows": ("triviaqa",)}, "choose among freebaseqa, webqa"),
        ({"dtypes": ("float16",)}, "float32, bfloat16"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_unknown_names_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Options(**change)
