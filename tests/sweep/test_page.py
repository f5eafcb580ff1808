"""The page on a sweep: diagrams, the link, the table, and its headline."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedsonar import Experiment
from fedsonar.cli import main
from fedsonar.commands.sweep import _print
from fedsonar.measure import Rate
from fedsonar.repair import CleanTuning
from fedsonar.sweep.combination import axes_of, combinations, heard
from fedsonar.sweep.figures import curve, link_plot, phase_diagrams
from fedsonar.sweep.grid import Cell
from fedsonar.sweep.page import headline, write_sweep_page
from fedsonar.sweep.table import FILE, read_sweep, write_sweep

REPAIRED = {"accuracy": 0.75, "n": 100, "low": 0.65, "high": 0.83}
AFFECTED, RATE = "attack.placement.affected", "attack.placement.rate"


def table(grid, seeds=(1, 2), **more):
    """Rows of a sweep's table: attack success rises with the poison, and so does the reading."""
    rows = []
    for values in grid:
        for seed in seeds:
            poison = values.get(AFFECTED, 1.0) * values.get(RATE, 0.1)
            for round in (0, 1):
                row = {"cell": f"{values}-{seed}", "seed": seed} | values
                row |= {"rows": 1000, "poisoned_rows": round_half(1000 * poison), "round": round}
                row |= {"accuracy": 0.9, "accuracy_n": 100, "asr": round * min(1.0, 10 * poison), "asr_n": 200}
                row |= {"bsnr_crossfit_cumulative_signal": 100 * poison + seed if values.get(AFFECTED, 1) < 1 else None}
                rows.append(row | more)
    return rows


def round_half(value):
    return int(np.rint(value))


GRID = [{AFFECTED: affected, RATE: rate} for affected in (0.2, 0.5, 1.0) for rate in (0.05, 0.1, 0.2)]


def test_runs_that_differ_in_the_seed_alone_are_one_combination():
    rows = table(GRID)
    assert axes_of(rows) == [AFFECTED, RATE]
    found = combinations(rows)
    assert [dict(c.values) for c in found] == GRID
    first = found[0]
    assert first.runs == 2
    assert first.poisoned == 0.01
    assert first.accuracy == Rate(0.9, 200, first.accuracy.low, first.accuracy.high)
    assert first.asr.n == 400
    assert first.asr.value == pytest.approx(0.1)
    assert first.reading("bsnr_crossfit_cumulative_signal") == pytest.approx(100 * 0.01 + 1.5)
    assert found[-1].reading("bsnr_crossfit_cumulative_signal") is None


def test_a_phase_diagram_has_affected_across_and_rate_up_whatever_their_order():
    rows = table([dict(reversed(values.items())) for values in GRID])
    [plot] = phase_diagrams(combinations(rows), axes_of(rows))
    heat, lines = plot.figure.data
    assert plot.figure.layout.xaxis.title.text == "affected"
    assert list(plot.figure.layout.xaxis.ticktext) == ["0.2", "0.5", "1"]
    assert np.array(heat.z, dtype=float)[2, 1] == pytest.approx(1.0)  # rate .2, affected .5
    assert np.array(heat.z, dtype=float)[0, 0] == pytest.approx(0.1)
    assert lines.z[0][2] is None  # nothing is read where all clients are affected
    assert "Lines: equal signal S (cross-fitted signal, added up over the rounds)" in plot.caption


def test_a_third_axis_makes_a_diagram_for_each_value():
    grid = [values | {"aggregator.class_path": rule} for rule in ("a.FedAvg", "a.Krum") for values in GRID]
    rows = table(grid)
    plots = phase_diagrams(combinations(rows), axes_of(rows))
    assert [plot.title for plot in plots] == ["Attack success: aggregator FedAvg", "Attack success: aggregator Krum"]
    assert len({plot.key for plot in plots}) == 2


def test_one_axis_is_a_curve_with_intervals():
    rows = table([{RATE: rate} for rate in (0.01, 0.05, 0.1)])
    found = combinations(rows)
    assert phase_diagrams(found, axes_of(rows)) == []
    [plot] = curve(found, axes_of(rows))
    success, accuracy = plot.figure.data
    assert list(success.x) == ["0.01", "0.05", "0.1"]
    assert list(success.y) == pytest.approx([0.1, 0.5, 1.0])
    assert success.error_y.array[0] == pytest.approx(found[0].asr.high - 0.1)
    assert list(accuracy.y) == pytest.approx([0.9] * 3)


def test_the_link_is_fitted_where_enough_runs_have_a_reading():
    rows = [row for row in table(GRID) if row["round"] == 1]
    column, readings, known = heard(rows)
    assert column == "bsnr_crossfit_cumulative_signal"
    assert len(readings) == len(known) == 12
    [plot] = link_plot(rows)
    assert "of 12 runs" in plot.caption
    assert "6 runs without a reading are left out" in plot.caption
    [plot] = link_plot(rows[:6])
    assert plot.figure is None
    assert "A link needs 8 runs" in plot.caption
    assert link_plot(table(GRID, asr=None)) == []


def test_readings_of_which_none_is_positive_have_no_link():
    rows = [row for row in table(GRID, bsnr_crossfit_cumulative_signal=-0.5) if row["round"] == 1]
    [plot] = link_plot(rows)
    assert plot.figure is None
    assert "got 18, and 0 positive" in plot.caption


@pytest.mark.parametrize(
    ("grid", "more", "said"),
    [
        (GRID, {}, "9 combinations, 18 runs. Accuracy is 90 %. The attack passes 85 % in 3 of 9 with poison; "
                   "the least poison that does it is 10.0 % of all rows (affected 0.5, rate 0.2)."),
        ([{RATE: 0.02}], {}, "1 combination, 2 runs. Accuracy is 90 %. The attack passes 85 % in none of 1 "
                             "with poison; its best is 20 %."),
        ([{RATE: 0.02}], {"asr": None}, "1 combination, 2 runs. Accuracy is 90 %."),
        ([{}], {}, "1 combination, 2 runs. Accuracy is 90 %. The attack passes 85 % in 1 of 1 with poison; the "
                   "least poison that does it is 10.0 % of all rows."),
    ],
)  # fmt: skip
def test_the_headline_says_how_little_poison_it_takes(grid, more, said):
    assert headline(combinations(table(grid, **more))) == said


def test_the_headline_names_both_ends_where_accuracy_differs():
    rows = [row | {"accuracy": accuracy} for accuracy, row in zip((0.8, 0.8, 0.9, 0.9), table(GRID[:1]), strict=True)]
    other = table([{AFFECTED: 0.9, RATE: 0.9}], accuracy=0.95)
    assert "Accuracy is 90 % to 95 %." in headline(combinations([*table(GRID[:1]), *other]))
    assert "Accuracy is 85 %." in headline(combinations(rows))


@pytest.mark.parametrize(("reading", "shown"), [(0.0179, "0.018"), (0.143, "0.14"), (6.14, "6.1"), (123.4, "123.4")])
def test_a_signal_is_told_apart_from_others_however_small(reading, shown, tmp_path):
    pq.write_table(pa.Table.from_pylist(table([{RATE: 0.1}], bsnr_summed_signal=reading)), tmp_path / FILE)
    assert f"<td>{shown}</td>" in write_sweep_page(tmp_path).read_text()


def test_what_repairs_made_of_the_runs_is_shown_beside_them(tmp_path, capsys):
    experiment = Experiment(repair=CleanTuning())
    cells = [Cell(f"rate={rate},seed=0", {RATE: rate}, experiment) for rate in (0.1, 0.2)]
    for cell, repair in zip(
        cells, (None, {"clean": REPAIRED, "attack": REPAIRED | {"success_rate": 0.25}}), strict=True
    ):
        folder = tmp_path / cell.name
        folder.mkdir()
        rounds = [{"round": r, "accuracy": 0.9, "accuracy_n": 100, "asr": 0.8, "asr_n": 100} for r in (0, 1)]
        pq.write_table(pa.Table.from_pylist(rounds), folder / "rounds.parquet")
        pq.write_table(pa.table({"poisoned": [True, False]}), folder / "samples.parquet")
        (folder / "summary.json").write_text(json.dumps({"repair": repair}))
    rows = read_sweep(write_sweep(cells, tmp_path))
    assert [row["repaired_asr"] for row in rows] == [None, None, None, 0.25]
    without, repaired = combinations(rows)
    assert without.repaired_accuracy is None is without.repaired_asr
    assert (repaired.repaired_accuracy.value, repaired.repaired_asr.n) == (0.75, 100)
    page = write_sweep_page(tmp_path).read_text()
    assert "Repaired: ASR" in page
    assert "<td>0.25 [0.18, 0.34]</td>" in page
    _print(tmp_path)
    assert "0.25 [0.18," in capsys.readouterr().out
    assert "Repaired" not in write_sweep_page(_unrepaired(tmp_path / "other")).read_text()


def _unrepaired(folder):
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(table(GRID)), folder / FILE)
    return folder


def test_the_page_stands_alone_and_shows_failed_runs(tmp_path, capsys):
    folder = tmp_path / "grid<1>"
    (folder / "rate=9,seed=1").mkdir(parents=True)
    (folder / "rate=9,seed=1" / "error.txt").write_text("rate must be at most 1")
    pq.write_table(pa.Table.from_pylist(table(GRID)), folder / FILE)
    page = write_sweep_page(folder).read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "grid&lt;1&gt;" in page
    assert "rate must be at most 1" in page
    assert page.count("<tr>") == 1 + len(GRID) + 1
    assert "src=" not in page.split("<body>")[1]
    assert main(["report", str(folder), "--out", str(tmp_path / "other.html"), "--title", "Mine"]) == 0
    assert "Mine" in (tmp_path / "other.html").read_text()
    assert "Report: " in capsys.readouterr().out
    assert main(["report", str(folder), str(folder)]) == 2
    assert "is a sweep: give it alone" in capsys.readouterr().err


def test_a_sweep_without_a_finished_run_has_no_page(tmp_path):
    pq.write_table(pa.table({}), tmp_path / FILE)
    with pytest.raises(ValueError, match=r"no run of the sweep in .* is finished"):
        write_sweep_page(tmp_path)
