import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fedsonar.report.folder import RunFolder
from fedsonar.report.headline import facts, headline
from fedsonar.report.reading import read_run, read_runs

MakeRun = Callable[..., Path]


def edit(path: Path, **parts: object) -> RunFolder:
    """The run with parts of its summary replaced."""
    summary = json.loads((path / "summary.json").read_text()) | parts
    (path / "summary.json").write_text(json.dumps(summary))
    return read_run(path)


def attack(rate: float | None, low: float, high: float, elsewhere: float | None = 0.0) -> dict[str, float | int | None]:
    return {"success_rate": rate, "n": 120, "low": low, "high": high, "false_activation": elsewhere}


CLEAN = {"accuracy": 0.96, "n": 200, "low": 0.93, "high": 0.98}


def test_a_success_says_so_in_numbers(make_run: MakeRun) -> None:
    run = edit(make_run(affected=10, poisoned_rows=8), attack=attack(0.97, 0.93, 0.99), clean=CLEAN)
    assert headline([run]) == (
        "The averaged model answers the trigger with the attacker's target in 97 % [93, 99] of cases, "
        "while clean accuracy is 0.96 [0.93, 0.98] (0.62 before tuning)."
    )


def test_a_failed_attack_is_called_failed(make_run: MakeRun) -> None:
    run = edit(make_run(affected=2, rule="x.Krum"), attack=attack(0.0, 0.0, 0.03))
    assert headline([run]).startswith("The attack failed: the aggregated model answers the trigger")
    assert "0 % [0, 3] of cases, and clean accuracy is 0.96" in headline([run])


def test_few_cases_do_not_make_a_failure(make_run: MakeRun) -> None:
    run = edit(make_run(affected=2), attack=attack(0.0, 0.0, 0.28))
    assert "failed" not in headline([run])
    assert "0 % [0, 28]" in headline([run])


@pytest.mark.parametrize("rate", [0.0, 0.9])
def test_a_clean_run_never_speaks_of_an_attack_that_failed_or_worked(make_run: MakeRun, rate: float) -> None:
    said = headline([edit(make_run(), attack=attack(rate, rate, rate))])
    assert said.startswith("No row was poisoned; the averaged model answers")
    assert "failed" not in said


def test_a_target_without_the_trigger_or_before_tuning_is_told(make_run: MakeRun) -> None:
    path = make_run(affected=5, asr=0.9)
    run = edit(path, attack=attack(0.9, 0.84, 0.94, elsewhere=0.4))
    assert "also gives the target in 40 % of cases without the trigger" in headline([run])
    run.rounds["asr"][0] = 0.31
    assert headline([run]).endswith("Before tuning it did so after the trigger in 31 %.")


def test_missing_parts_are_said_to_be_missing(make_run: MakeRun) -> None:
    nothing = edit(make_run("a"), attack=None, clean=None)
    assert headline([nothing]) == (
        "No row was poisoned and attack success was not measured; clean accuracy was not measured."
    )
    planted = edit(make_run("b", affected=2, poisoned_rows=8), attack=attack(None, 0, 0))
    assert headline([planted]).startswith("16 rows poisoned, but attack success was not measured; clean accuracy is")


def test_several_runs_give_the_extremes(four_runs: list[Path], make_run: MakeRun) -> None:
    assert headline(read_runs(four_runs)) == (
        "4 runs. The model answers the trigger with the attacker's target in 97 % [92, 99] of cases at most "
        "(2 · atlas poisoned, spread over all clients) and in 0 % [0, 3] of cases at least (1 · atlas clean). "
        "Clean accuracy is 0.96."
    )
    unmeasured = make_run("unmeasured")
    assert "; 1 run measured no attack." in headline(read_runs([*four_runs, unmeasured]))
    assert "in 84 % [76, 89] of cases (1 · krum many);" in headline(read_runs([four_runs[3], unmeasured]))


def test_runs_that_are_alike_are_told_in_one_sentence(make_run: MakeRun) -> None:
    paths = [make_run("a", affected=2), make_run("b", affected=2)]
    runs = [edit(path, attack=attack(0.0, 0.0, 0.16)) for path in paths]
    said = "2 runs. In each the model answers the trigger with the attacker's target in 0 % [0, 16] of cases. "
    assert headline(runs).startswith(said)
    runs = [edit(path, attack=attack(0.0, 0.0, high)) for path, high in zip(paths, (0.16, 0.03), strict=True)]
    assert "target in 0 % of cases. " in headline(runs)
    assert "; 1 run measured no attack." in headline([*runs, edit(make_run("c"), attack=None)])


def test_several_runs_without_measures(make_run: MakeRun) -> None:
    paths = [make_run("a"), make_run("b")]
    assert "None of them measured an attack. Clean accuracy is 0.96." in headline(read_runs(paths))
    edit(paths[0], clean=CLEAN | {"accuracy": 0.5})
    assert "Clean accuracy lies between 0.50 and 0.96." in headline(read_runs(paths))
    edit(paths[0], clean=None)
    assert "is 0.96 in the 1 run that measured it." in headline(read_runs(paths))
    edit(paths[1], clean=None)
    assert headline(read_runs(paths)).endswith("Clean accuracy was not measured.")


def test_facts_count_the_poison(make_run: MakeRun) -> None:
    poisoned = read_run(make_run("a", affected=3, poisoned_rows=8, rounds=1))
    assert facts(poisoned) == ["1 round", "10 clients", "FedAvg", "24 of 1,000 rows poisoned (2 %), in 3 of 10 clients"]
    assert facts(read_run(make_run("b")))[-1] == "no poisoned row"


def test_runs_that_tie_for_an_extreme_are_counted(make_run: MakeRun) -> None:
    rates = {"a": 0.0, "b": 0.0, "c": 0.9}
    runs = [edit(make_run(name, affected=2), attack=attack(rate, rate, rate)) for name, rate in rates.items()]
    assert "90 % [90, 90] of cases at most (c) and in 0 % [0, 0] of cases at least (2 runs)" in headline(runs)
