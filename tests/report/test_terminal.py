import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from fedsonar.report.terminal import comparison_table, print_comparison

MakeRun = Callable[..., Path]


def printed(runs: list[Path], width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(comparison_table(runs))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_one_row_a_run(four_runs: list[Path]) -> None:
    lines = printed(four_runs).splitlines()
    assert lines[0].split() == [
        "run",
        "rule",
        "ρ",
        "rate",
        "poison",
        "accuracy",
        "ASR",
        "false",
        "act.",
        "dB",
        "∑dB",
    ]
    krum, *_ = (line for line in lines if "4 · krum many" in line)
    assert krum.split()[4:8] == ["Krum", "0.6", "0.16", "96/1,000"]
    assert "0.84" in krum
    assert "[0.76,0.89]" in lines[lines.index(krum) + 1]
    assert krum.split()[-2:] == ["8.9", "33.7"]


def test_at_80_characters_no_number_is_broken(four_runs: list[Path]) -> None:
    text = printed(four_runs, width=80)
    assert max(map(len, text.splitlines())) <= 80
    for whole in ("FedAvg", "96/1,000", "0.84", "[0.76,0.89]", "33.7"):
        assert whole in text


@pytest.mark.parametrize("terminal", [True, False])
def test_no_column_is_lost_where_words_are_long(terminal: bool, make_run: MakeRun) -> None:
    path = make_run(name="a_label_of_one_word", rule="x.AveragingOfManyKinds", affected=4, asr=0.5, signal=10.0)
    summary = json.loads((path / "summary.json").read_text())
    clean = {"accuracy": 0.71, "n": 120, "low": 0.62, "high": 0.78}
    summary["repair"] = {"kind": "CleanTuningForLong", "clean": clean, "attack": None}
    (path / "summary.json").write_text(json.dumps(summary))
    console = Console(file=io.StringIO(), width=80, force_terminal=terminal, color_system=None)
    print_comparison([path], console)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[0].rstrip().endswith("∑dB")
    for whole in ("64/1,000", "0.50", "[0.41,0.59]", "0.71", "[0.62,0.78]", "6.0", "30.8", "∑dB: cumulative"):
        assert whole in " ".join(lines)
    assert (max(map(len, lines)) <= 80) == terminal
    assert ("a_label_of_one_word, repaired" in " ".join(lines)) != terminal


def test_where_there_is_no_bsnr_it_says_why(make_run: MakeRun) -> None:
    note = "needs 2 affected and 4 clean clients, got 10 and 0"
    assert note in " ".join(printed([make_run("a", affected=10, note=note)]).split())
    assert "needs" not in printed([make_run("clean")])


def test_names_are_neither_markup_nor_commands(make_run: MakeRun) -> None:
    text = printed([make_run(name="[bold]x[/bold]\x1b[2J")])
    assert "[bold]x[/bold]\ufffd[2J" in text
    assert "\x1b" not in text


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere"):
        comparison_table([tmp_path / "nowhere"])
