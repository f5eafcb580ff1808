"""The page on a sweep: diagrams, the link, the table, and its headline."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedsonar.cli import main
from fedsonar.measure import Rate
from fedsonar.sweep.combination import axes_of, combinations, heard
from fedsonar.sweep.figures import curve, link_plot, phase_diagrams
from fedsonar.sweep.page import headline, write_sweep_page
from fedsonar.sweep.table import FILE

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
        (GRID, {}, "9 combinations, 18 runs. Accuracy is 0.90 to 0.90. The attack passes 85 % in 3 of 9 with poison; "
                   "the least poison that does it is 10.0 % of all rows (affected 0.5, rate 0.2)."),
        ([{RATE: 0.02}], {}, "1 combination, 2 runs. Accuracy is 0.90 to 0.90. The attack passes 85 % in none of 1 "
                             "with poison; its best is 0.20."),
        ([{RATE: 0.02}], {"asr": None}, "1 combination, 2 runs. Accuracy is 0.90 to 0.90."),
        ([{}], {}, "1 combination, 2 runs. Accuracy is 0.90 to 0.90. The attack passes 85 % in 1 of 1 with poison; the "
                   "least poison that does it is 10.0 % of all rows."),
    ],
)  # fmt: skip
def test_the_headline_says_how_little_poison_it_takes(grid, more, said):
    assert headline(combinations(table(grid, **more))) == said


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
