"""Planning: what a sweep's runs say of a federation of another size."""

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedsonar.cli import main
from fedsonar.rng import stream
from fedsonar.sweep.plan import Law, Observation, fit_law, link_of, observations, plan

TRUE = Law(start=math.log(6), spread=0.9, depth=0.45, both=-0.1, bend=-0.04)
CRITICAL, SLOPE = 6.0, 8.0


def run_of(affected, rows, error=0.0):
    signal = math.exp(error) * TRUE.signal(affected, rows)
    success = 1 / (1 + (CRITICAL / signal) ** SLOPE)
    return Observation(
        affected=affected, rows=rows, signal=signal, norm=2.0, hits=round(2000 * success), trials=2000
    )  # fmt: skip


GRID = [(affected, rows) for affected in (0.2, 0.4, 0.6, 0.8, 1.0) for rows in (1, 2, 5, 10)]
RUNS = [run_of(*dials) for dials in GRID]


def test_the_law_and_the_link_are_found_again():
    law = fit_law(RUNS)
    for name in ("start", "spread", "depth", "both", "bend"):
        assert getattr(law, name) == pytest.approx(getattr(TRUE, name)), name
    link = link_of(RUNS)
    assert link.critical.value == pytest.approx(CRITICAL, rel=0.01)
    assert link.slope == pytest.approx(SLOPE, rel=0.05)
    assert math.isnan(link.critical.low)


@pytest.mark.parametrize("law", [TRUE, Law(1.0, 0.9, 0.4, 0.0, 0.0), Law(1.0, 0.9, 0.4, 0.1, 0.05)])
@pytest.mark.parametrize("affected", [0.1, 0.5, 1.0])
def test_the_fewest_rows_give_the_signal(law, affected):
    needed = law.signal(affected, 3.0)
    assert law.rows(affected, needed) == pytest.approx(3.0)


def test_a_signal_that_no_number_of_rows_gives_is_said_so():
    top = math.exp((TRUE.depth + TRUE.both * math.log(0.5)) / (-2 * TRUE.bend))
    assert TRUE.rows(0.5, 1.01 * TRUE.signal(0.5, top)) == math.inf
    assert Law(0.0, 1.0, 0.0, 0.0, 0.0).rows(0.5, 2.0) == math.inf


@pytest.mark.parametrize(("success", "scale"), [(0.5, 1.0), (0.9, 1.0), (0.5, 2.0)])
def test_a_plan_gives_the_rows_that_the_truth_needs(success, scale):
    needs = plan(RUNS, 40, 20, stream(0, "test"), success=success, scale=scale, resamples=20)
    assert [need.affected for need in needs] == [2, 4, 8, 12, 20, 30, 40]
    needed = CRITICAL * (success / (1 - success)) ** (1 / SLOPE) / scale
    for need in needs:
        assert need.each.value == pytest.approx(TRUE.rows(need.affected / 40, needed), rel=0.1)
        if need.each.value <= 20:
            assert need.rows.value == need.affected * math.ceil(need.each.value)
            assert need.share == need.rows.value / 800
        else:
            assert need.rows.value == math.inf


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    covered, trials, truth = 0, 40, TRUE.rows(1.0, CRITICAL)
    for trial in range(trials):
        rng = stream(trial, "noise")
        noisy = [run_of(*dials, error=0.1 * rng.standard_normal()) for dials in GRID]
        need = plan(noisy, 10, 100, rng, resamples=60)[-1]
        covered += need.each.low <= truth <= need.each.high
    assert covered >= 0.8 * trials


def test_runs_with_hardly_any_success_are_planned_from_all_the_same():
    """Nine of four rounds each, as a small sweep gives them; some resamples need more rows than floats can count."""
    signals = [1.5484, 3.0440, 3.7128, 3.6352, 6.3204, 7.6923, 6.6834, 9.5704, 10.8187]
    hits = [0, 0, 0, 0, 0, 6, 0, 27, 89]
    dials = [(affected, rows) for affected in (0.2, 0.5, 1.0) for rows in (2.0, 5.0, 10.0)]
    few = [
        Observation(affected=affected, rows=rows, signal=signal, norm=6.7, hits=hit, trials=100)
        for (affected, rows), signal, hit in zip(dials, signals, hits, strict=True)
    ]
    for success, most in ((0.5, 20), (0.9, math.inf)):
        needs = plan(few, 50, 200, stream(0, "test"), success=success)
        assert 1 < needs[-1].each.low < needs[-1].each.value <= most
        assert needs[0].each.high == math.inf
    assert Law(start=0.0, spread=0.0, depth=1e-3, both=0.0, bend=0.0).rows(1.0, 1e6) == math.inf


def test_small_federations_have_no_share_twice():
    needs = plan(RUNS, 3, 50, stream(0, "test"), resamples=5)
    assert [need.affected for need in needs] == [1, 2, 3]


@pytest.fixture
def sweep(tmp_path):
    """A folder with what a plan reads of a sweep's runs."""
    for place, observed in enumerate(RUNS):
        run = tmp_path / "grid" / str(place)
        run.mkdir(parents=True)
        (run / "summary.json").write_text("{}")
        poisoned = [
            client < round(10 * observed.affected) and row < observed.rows
            for client in range(10) for row in range(100)
        ]  # fmt: skip
        tables = {
            "rounds": [{"round": 1, "asr": observed.hits / 2000, "asr_n": 2000}],
            "clients": [{"norm": 2.0}, {"norm": None}],
            "samples": [{"client": c, "poisoned": p} for c, p in zip(np.repeat(range(10), 100), poisoned, strict=True)],
            "bsnr": [
                {"round": 1, "estimator": name, "part": part, "signal": signal, "cumulative_signal": -1.0}
                for name, part, signal in (("summed", "all", observed.signal), ("twin", "all", 0.0), ("summed", "q", 0))
            ],
        }  # fmt: skip
        for name, rows in tables.items():
            pq.write_table(pa.Table.from_pylist(rows), run / f"{name}.parquet")
    (tmp_path / "grid" / "unfinished").mkdir()
    return tmp_path / "grid"


def test_the_runs_of_a_sweep_are_read(sweep):
    found = sorted(observations(sweep), key=lambda run: (run.affected, run.rows))
    assert found == sorted(RUNS, key=lambda run: (run.affected, run.rows))


def test_the_command_prints_the_least_poison(sweep, capsys):
    assert main(["plan", str(sweep), "--clients", "40", "--rows", "20"]) == 0
    said = capsys.readouterr().out
    assert "40 of 40" in said
    assert "more than all" in said
    assert f"Least: {40 * math.ceil(TRUE.rows(1.0, CRITICAL)):,} of 800 rows" in " ".join(said.split())
    assert main(["plan", str(sweep), "--clients", "40", "--rows", "20", "--json", "--norm", "4"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["runs"] == len(RUNS)
    assert (result["norm"], result["sweep_norm"]) == (4.0, 2.0)
    assert result["needs"][-1]["each"]["value"] == pytest.approx(TRUE.rows(1.0, CRITICAL / 2), rel=0.05)
    assert main(["plan", str(sweep), "--clients", "40", "--rows", "20", "--json", "--like", str(sweep / "0")]) == 0
    assert json.loads(capsys.readouterr().out)["norm"] == 2.0


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--clients", "0", "--rows", "5"], 2, "--clients must be at least 1, got 0"),
        (["--clients", "5", "--rows", "5", "--success", "1"], 2, "--success must be above 0 and below 1, got 1"),
        (["--clients", "5", "--rows", "5", "--norm", "-1"], 2, "--norm must be above 0, got -1"),
        (["--clients", "5", "--rows", "5"], 1, "a plan needs 8 finished runs with poison"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, arguments, status, said):
    (tmp_path / "empty").mkdir()
    assert main(["plan", str(tmp_path / "empty"), *arguments]) == status
    message = capsys.readouterr().err
    assert said in message
    assert len(message.splitlines()) == 1
