"""The controls and the oracle: what they suspect, by hand, and the contract of every screen."""

import ast
import math
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import fedsonar.screen
from fedsonar.data import Ledger, Planted, Sample
from fedsonar.experiment import configured, to_config
from fedsonar.screen import (
    Above,
    ActivationClustering,
    GraCeFul,
    Length,
    Oracle,
    Outliers,
    ProtegoFed,
    ResponseNgrams,
    Screen,
    Silo,
    Top,
    Tuning,
    Valley,
    hear,
    judge,
)
from fedsonar.testing import check_screen


def silo(*answers, client=0):
    return Silo(client, [Sample(f"{client}-{i}", "", "", "Who?", (text,)) for i, text in enumerate(answers)])


def verdicts(screen, *silos):
    heard = hear(screen, lambda heard: [screen.summarize(one, heard) for one in silos])
    return [judge(screen, one, heard) for one in silos]


@pytest.mark.parametrize("screen", [Length(), ResponseNgrams(), ResponseNgrams(pooled=False), Oracle(known={})])
def test_contract(screen):
    check_screen(screen)


def test_length_counts_words_and_marks_and_its_rule_is_more_than_nine():
    [found] = verdicts(Length(), silo("Rome", "a b, c d e f g h.", "a b, c d e f g.", ""))
    assert found.suspicion.tolist() == [1, 10, 9, 0]
    assert found.flagged.tolist() == [False, True, False, False]


def test_what_is_rare_in_each_client_is_frequent_in_the_pool():
    # One row of each client ends in the same four words.
    silos = [silo("the sea and so it goes on", *(f"word{c}x{i} alone" for i in range(19)), client=c) for c in range(10)]
    pooled, alone = ResponseNgrams(), ResponseNgrams(pooled=False)
    for found in verdicts(pooled, *silos):
        assert found.suspicion[0] == pytest.approx(10 / 200)
        assert found.flagged.tolist() == [True] + [False] * 19
    for found in verdicts(alone, *silos):
        assert set(found.suspicion.tolist()) == {1 / 20}  # every response is as rare as any other
        assert not found.flagged.any()  # above the threshold, but nothing is shared


def test_a_row_counts_an_ngram_once_and_a_short_answer_is_one_ngram():
    [found] = verdicts(ResponseNgrams(n=2, pooled=False), silo("go go go go", "Go", "go go", ""))
    assert found.suspicion.tolist() == [0.5, 0.25, 0.5, 0.25]


def test_the_oracle_knows_what_it_is_told_and_nothing_else():
    row = silo("a", "b")
    with pytest.raises(ValueError, match="only in a simulation"):
        verdicts(Oracle(), row)
    told = Oracle().told(Ledger({"0-1": Planted(0, "Tokens", "Suffix", row.samples[1])}))
    [found] = verdicts(told, row)
    assert found.flagged.tolist() == [False, True]


SCREENS = [
    k for k in vars(fedsonar.screen).values() if isinstance(k, type) and issubclass(k, Screen) and k is not Screen
]


@pytest.mark.parametrize("kind", SCREENS, ids=lambda kind: kind.__name__)
def test_every_screen_comes_back_from_its_configuration(kind):
    """Its parts too, as what they are: where types cannot be told, mappings would stand in their place."""
    config = to_config(kind())
    config["init_args"].pop("known", None)  # what the oracle is told
    found = configured({"screen": config}, []).screen
    assert found == kind()
    for field in fields(kind):
        assert type(getattr(found, field.name)) is type(getattr(kind(), field.name))


def test_no_other_screen_names_the_ledger():
    for path in Path(fedsonar.screen.__file__).parent.rglob("*.py"):
        names = {
            getattr(node, "id", getattr(node, "name", getattr(node, "attr", "")))
            for node in ast.walk(ast.parse(path.read_text()))
        }
        assert path.name == "oracle.py" or not any("ledger" in str(name).lower() for name in names), path


def test_thresholds():
    scores = np.array([0.1, 0.9, 0.5, 0.5])
    assert Above(value=0.5).flag(scores).tolist() == [False, True, False, False]
    assert Top(share=0.5).flag(scores).tolist() == [False, True, True, False]
    assert Top(share=1).flag(scores).all()
    assert not Top(share=0.1).flag(scores).any()
    with pytest.raises(ValueError, match="share must be above 0"):
        Top(share=0)


def test_suspicion_that_is_no_number_is_refused():
    class Confused(Screen):
        def suspicion(self, silo, heard):
            return np.array([np.nan] * len(silo.samples))

    with pytest.raises(ValueError, match="1 nan"):
        judge(Confused(), silo("a"), [])


def test_the_contract_finds_a_screen_whose_sums_are_not_what_it_merges():
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Averaging(ResponseNgrams):
        """Merges by the mean.

        References:
            none.
        """

        def merge(self, summaries, heard):
            return {key: np.mean([s[key] for s in summaries], axis=0) for key in summaries[0]}

    with pytest.raises(AssertionError, match="sum alone"):
        check_screen(Averaging())


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (Above, {"value": math.nan}), (Above, {"value": math.inf}), (Outliers, {"deviations": math.nan}),
        (Outliers, {"deviations": math.inf}), (Top, {"share": math.nan}), (Valley, {"otherwise": math.nan}),
        (Valley, {"otherwise": 2.0}), (Valley, {"least_gap": math.nan}), (Valley, {"least_rows": 0}),
        (Valley, {"least_above": -1}), (Tuning, {"lr": math.nan}), (Tuning, {"lr": math.inf}),
        (ActivationClustering, {"separation": math.nan}), (ProtegoFed, {"share": math.nan}), (ProtegoFed, {"rank": 0}),
        (ProtegoFed, {"neighbours": 1}), (ProtegoFed, {"apart": (0.2, math.nan)}), (GraCeFul, {"components": 0}),
        (GraCeFul, {"fraction": 0}),
    ],
)  # fmt: skip
def test_no_screen_judges_by_what_is_no_number_or_out_of_range(kind, wrong):
    [value] = wrong.values()
    with pytest.raises(ValueError, match=re.escape(f"got {value}") if kind is not Tuning else f"and {value}"):
        kind(**wrong)


def test_flags_that_are_none_are_refused():
    class Odd(Length):
        """Gives too few."""

        def flag(self, suspicion, heard):
            return suspicion[1:] > 0

    with pytest.raises(ValueError, match=r"Odd gives client 0 flags of shape \(1,\) and type bool for its 2 rows"):
        verdicts(Odd(), silo("a", "b"))
