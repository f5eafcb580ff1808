from collections.abc import Callable
from pathlib import Path

import pytest

from fedsonar.report.figures import Plot, curves, plotly_text
from fedsonar.report.reading import read_run, read_runs

MakeRun = Callable[..., Path]


def by_key(plots: tuple[Plot, ...]) -> dict[str, Plot]:
    return {plot.key: plot for plot in plots}


def test_one_run_draws_band_and_line_of_each_measure(make_run: MakeRun) -> None:
    run = read_run(make_run(affected=6, asr=0.8, signal=10.0, rounds=4))
    plots = by_key(curves([run]))
    assert list(plots) == ["accuracy", "asr", "loss", "bsnr-crossfit-ratio", "bsnr-crossfit-cumulative-ratio"]
    band, line = plots["accuracy"].figure.data
    assert list(line.x) == [0, 1, 2, 3, 4]
    assert list(line.y) == pytest.approx([0.62, 0.79, 0.96, 0.96, 0.96])
    assert list(band.x) == [0, 1, 2, 3, 4, 4, 3, 2, 1, 0, None]
    assert band.y[0] == run.rounds["accuracy_high"][0]
    assert band.y[9] == run.rounds["accuracy_low"][0]
    assert line.text[4] == "0.960 [0.908, 0.983]"
    assert [trace.name for trace in plots["asr"].figure.data[1:]] == ["attack success", "false activation"]
    assert plots["bsnr-crossfit-cumulative-ratio"].figure.data[1].y[4] == pytest.approx(20.0)
    assert "from 0.62 in round 0 to 0.96 in round 4" in plots["accuracy"].alt


def test_rounds_without_evaluation_are_bridged_and_undefined_bsnr_leaves_a_gap(make_run: MakeRun) -> None:
    run = read_run(make_run(rounds=4, signal=10.0))
    for column in ("accuracy", "bsnr_crossfit_ratio"):
        run.rounds[column][2] = None
    plots = by_key(curves([run]))
    assert list(plots["accuracy"].figure.data[1].x) == [0, 1, 3, 4]
    band, line = plots["bsnr-crossfit-ratio"].figure.data
    assert list(line.y)[2] is None
    assert list(band.x) == [1, 1, None, 3, 4, 4, 3, None]


def test_undefined_bsnr_says_why(make_run: MakeRun) -> None:
    run = read_run(make_run(rounds=5, note="no clean client"))
    plot = by_key(curves([run]))["bsnr-crossfit-ratio"]
    assert plot.figure is None
    assert plot.notes == ("rounds 1–5 undefined: no clean client",)
    run.bsnr_notes[2:4] = ["diverged", ""]
    assert by_key(curves([run]))["bsnr-crossfit-ratio"].notes == (
        "rounds 1, 4–5 undefined: no clean client",
        "round 2 undefined: diverged",
        "round 3 undefined: not recorded",
    )


def test_a_note_on_a_defined_bsnr_does_not_call_it_undefined(make_run: MakeRun) -> None:
    run = read_run(make_run(rounds=3, signal=0.1))
    run.bsnr_notes[1:] = ["placebo"] * 3
    assert by_key(curves([run]))["bsnr-crossfit-ratio"].notes == ("rounds 1–3: placebo",)


def test_several_runs_differ_in_colour_dash_and_mark(four_runs: list[Path]) -> None:
    plots = by_key(curves(read_runs(four_runs)))
    lines = [trace for trace in plots["accuracy"].figure.data if trace.mode == "lines+markers"]
    for styles in zip(*((t.line.color, t.line.dash, t.marker.symbol) for t in lines), strict=True):
        assert len(set(styles)) == 4
    notes = plots["bsnr-crossfit-ratio"].notes
    assert len(notes) == 1
    assert notes[0].startswith("2 · atlas poisoned, spread over all clients, rounds 1–12 undefined: needs 2")


def test_an_attack_that_was_not_measured_is_not_drawn(make_run: MakeRun) -> None:
    plot = by_key(curves([read_run(make_run())]))["asr"]
    assert plot.figure is None
    assert plot.caption == "Nothing to draw: this run has no value here."


def test_plotly_text_is_no_markup() -> None:
    assert plotly_text("<b>&") == "&lt;b&gt;&amp;"
    assert plotly_text("<" * 50) == "&lt;" * 39 + "…"
