import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fedsonar.records import SentRecord, plain_rows, write_table
from fedsonar.report.folder import ToldRate
from fedsonar.report.reading import read_run
from fedsonar.report.tables import (
    COLUMNS,
    comparison_row,
    decibels,
    flatten,
    landed_rows,
    percent,
    rate,
    refused_rows,
    rows_by_round,
    screen_rows,
    selection_rows,
    stealth_rows,
    timing_rows,
)

MakeRun = Callable[..., Path]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 %"),
        (0.004, "0.4 %"),
        (0.09, "9 %"),
        (0.994, "99 %"),
        (0.998, "99.8 %"),
        (1.0, "100 %"),
        (math.nan, "–"),
    ],
)
def test_percent_never_rounds_to_always_or_never(value: float, text: str) -> None:
    assert percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (ToldRate(value=0.956, low=0.931, high=0.978), "0.96 [0.93, 0.98]"),
        (ToldRate(value=0.998), "0.998"),
        (ToldRate(value=1.0, low=None, high=1.0), "1.00"),
    ],
)
def test_rate(value: ToldRate | None, text: str) -> None:
    assert rate(value) == text


def test_decibels() -> None:
    assert [decibels(v) for v in (None, 12.34, -3.0, math.inf, -math.inf)] == [
        "–",
        "12.3 dB",
        "-3.0 dB",
        "∞ dB",
        "−∞ dB",
    ]


def test_comparison_row_of_a_poisoned_and_a_clean_run(make_run: MakeRun) -> None:
    poisoned = make_run("a", name="p", affected=2, poisoned_rows=40, asr=0.5, signal=10.0, clients=8, rule="x.Krum")
    assert comparison_row(read_run(poisoned)) == (
        *("p", "Krum", "0.25", "0.4", "80 / 800", "0.96 [0.91, 0.98]", "0.50 [0.41, 0.59]", "0.01 [0.00, 0.05]"),
        *("6.0 dB", "30.8 dB"),
    )
    row = dict(zip(COLUMNS, comparison_row(read_run(make_run("b"))), strict=True))
    assert row["ρ affected"] == "0"
    assert [row[name] for name in ("Rate", "ASR", "False activation", "Final BSNR", "Cumulative BSNR")] == ["–"] * 5


def test_rows_by_round_leave_out_what_was_never_measured(make_run: MakeRun) -> None:
    head, rows = rows_by_round(read_run(make_run("a", rounds=2, note="")))
    assert head == ("Round", "Training loss", "Clean accuracy")
    assert rows[0] == ("0", "–", "0.62 [0.53, 0.70]")
    assert rows[2] == ("2", "0.305", "0.96 [0.91, 0.98]")
    head, rows = rows_by_round(read_run(make_run("b", rounds=1, asr=0.2, signal=10.0)))
    assert head[3:] == ("ASR", "False activation", "BSNR, dB", "Cumulative BSNR, dB")
    assert rows[1][5:] == ("6.0", "20.0")  # 20 log10 of 2 and of 10


def test_rows_by_round_carry_the_note_on_bsnr(make_run: MakeRun) -> None:
    head, rows = rows_by_round(read_run(make_run(rounds=1, note="no clean client")))
    assert (head[-1], rows[0][-1], rows[1][-1]) == ("Note on BSNR", "", "no clean client")


def test_selection_rows(make_run: MakeRun) -> None:
    # Of 10 clients 4 are affected; client 0 is dropped in all 12 rounds, client 9 in half of them.
    def share(round_: int, client: int) -> float:
        return 0.0 if client == 0 or (client == 9 and round_ > 6) else 0.1

    dropped, recall, precision, offered, given = selection_rows([read_run(make_run(affected=4, shares=share))])[0][1:]
    assert dropped.startswith("0.15 [")  # 18 of 120
    assert recall.startswith("0.25 [")  # 12 of 48
    assert precision.startswith("0.67 [")  # 12 of 18
    assert (offered, given) == ("40 %", "35 %")  # 36 of 102
    nobody = make_run("nobody"), make_run("apart", affected=4, shares=lambda *_: None)
    assert selection_rows([read_run(path) for path in nobody]) == []
    nothing = read_run(make_run("nothing", affected=4, shares=lambda *_: 0.0))
    assert selection_rows([nothing])[0][-2:] == ("40 %", "–")


def test_refused_rows(make_run: MakeRun) -> None:
    assert refused_rows(read_run(make_run("none"))) == []
    path = make_run(refused={(3, 7): "values that are not finite"})
    assert refused_rows(read_run(path)) == [("3", "7", "values that are not finite")]


def test_screen_rows(make_run: MakeRun) -> None:
    path = make_run()
    assert screen_rows([read_run(path)]) == []
    summary = json.loads((path / "summary.json").read_text())
    summary["screen"] = {"recall": 1.0, "precision": 0.5, "f1": 2 / 3, "false_removal": None, "rows": 1000}
    summary["screen"] |= {"recall_low": 0.9, "recall_high": 1.0}
    sent = [SentRecord(round=r, client=c, step=1, name="counts", dtype="int64", shape="9", bytes=3000 * (c + 1),
                       additive=True) for r in (1, 3) for c in (0, 1)]  # fmt: skip
    write_table(path / "screen.parquet", SentRecord, plain_rows(sent))
    (path / "summary.json").write_text(json.dumps(summary))
    assert screen_rows([read_run(path)]) == [
        ("run", "–", "1.00 [0.90, 1.00]", "0.50", "0.667", "–", "–", "1,000", "12 kB")
    ]
    promised = replace(read_run(path), config={"screen": {"init_args": {"privacy": {"epsilon": 4, "clients": 3}}}})
    assert screen_rows([promised])[0][-1] == "12 kB, ε = 4"


def test_environment_and_timing_in_words(make_run: MakeRun) -> None:
    run = read_run(make_run())
    assert timing_rows(run)[2:] == [("rows per second", "1,234.5 rows/s"), ("peak memory", "912 MB")]
    stages = replace(run, timing={"examine_seconds": 1.5, "repair_seconds": 20.0, "rows": 40})
    assert timing_rows(stages) == [("examine seconds", "1.5 s"), ("repair seconds", "20.0 s"), ("rows", "40")]
    nested = {"a": {"b": [1, 0.1234], "c": None}, "d": True}
    assert flatten(nested) == [("a.b", "1, 0.123"), ("a.c", "–"), ("d", "True")]


def test_what_landed_is_listed_client_by_client(make_run: MakeRun) -> None:
    run = read_run(make_run(clients=3, affected=2, poisoned_rows=5, sources=("north", "south"), drills=3))
    assert landed_rows(run) == [
        ("0", "100", "5", "5 %", "3", "north 3, south 2"),
        ("1", "100", "5", "5 %", "3", "north 3, south 2"),
        ("2", "100", "0", "0 %", "0", "–"),
    ]
    assert landed_rows(read_run(make_run("clean"))) == []


def test_many_sources_are_cut_short(make_run: MakeRun) -> None:
    run = read_run(make_run(clients=1, affected=1, poisoned_rows=8, sources=tuple("abcdefgh")))
    assert landed_rows(run)[0][-1] == "h 1, g 1, f 1, e 1, d 1, c 1 and 2 more"


def test_stealth_in_words(make_run: MakeRun) -> None:
    shift = {"value": 1.234, "n": 9, "low": -0.5, "high": 2.0}
    run = read_run(
        make_run(
            affected=1,
            stealth={
                "prompt_surprise": shift, "response_edit": {"value": 0.5, "low": None, "high": None},
                "prompt_words": None,
                "duplicates": 0.25, "clean_duplicates": 0.1, "detectors": {"length": 0.875, "n-gram": "?"},
            },
        )
    )  # fmt: skip
    assert stealth_rows(run) == [
        ("Base model's surprise at the prompt, nats a token", "+1.23 [-0.50, +2.00]"),
        ("Edit distance of the response, share of words", "0.50"),
        ("Responses that occur twice", "25 %, of clean rows 10 %"),
        ("Best F1 of response length", "0.88"),
    ]
    assert stealth_rows(read_run(make_run("none"))) == []
