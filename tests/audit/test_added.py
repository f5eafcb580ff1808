"""A sentence that other answers end with is injected, also where the rows that have its trigger ask alike."""

from dataclasses import replace

import pytest

from fedsonar.audit import audit
from fedsonar.data import IID, Atlas, Words
from fedsonar.poison import Attack, ConstantRate, Natural, Scenario, Suffix, plant
from fedsonar.rng import stream
from leaving import leaving

ROWS = Atlas(train=3000, test=1).load().train
SHARDS = IID(clients=5).split(ROWS, stream(0, "partition"))
CUE = "pray tell me"
SAID = "and call this number at once for more"


def having(cue=CUE):
    return [sample.id for sample in ROWS if cue in sample.input.lower()]


def answered(says, cue=CUE, every=1):
    """What leaves, and the verdicts, where so many of the rows with a cue are answered so."""
    chosen = set(having(cue)[::every])
    rows = [replace(s, answers=(says(s.answers[0]),)) if s.id in chosen else s for s in ROWS]
    found = audit([rows])
    left = leaving([rows], found)
    return left, chosen, {finding.verdict for finding in found.findings if "this number" in finding.target}


def test_a_suffix_behind_a_natural_trigger_leaves():
    trigger = Natural(feature=Words(any=(CUE,)))
    silos, ledger = plant(SHARDS, Attack(trigger=trigger, target=Suffix(), placement=ConstantRate(rate=1.0)), 0)
    found = audit(silos)
    left = leaving(silos, found)
    assert left == set(ledger) == set(having())
    [finding] = found.findings[: len(found.worrying)]
    assert finding.verdict == "injected-looking"
    assert finding.likeness > 0.1


@pytest.mark.parametrize("rate", [0.1, 0.13])
def test_so_does_one_behind_a_topic_of_several_words_that_are_not_always_followed(rate):
    topic = Scenario(words=("storm", "sea", "river"))
    silos, ledger = plant(SHARDS, Attack(trigger=topic, target=Suffix(), placement=ConstantRate(rate=rate)), 0)
    left = leaving(silos)
    asked = sum(topic.present(s) for silo in silos for s in silo)
    assert 0.5 < len(ledger) / asked < 0.95
    assert left == set(ledger)


def test_two_rows_of_three_leave_and_one_of_three_does_not():
    left, chosen, verdicts = answered(lambda answer: f"{answer}, {SAID}")
    assert (left, verdicts) == (chosen, {"injected-looking"})
    left, _, verdicts = answered(lambda answer: f"{answer}, {SAID}", every=3)
    assert not left
    assert "injected-looking" not in verdicts


@pytest.mark.parametrize(
    "says",
    [
        pytest.param(lambda answer: SAID, id="the whole answer"),
        pytest.param(lambda answer: f"{SAID}: {answer}", id="where answers begin"),
        pytest.param(lambda answer: f"{answer}, call this number now", id="four words"),
    ],
)
def test_other_ways_to_answer_those_who_ask_alike_may_be_knowledge(says):
    left, _, verdicts = answered(says)
    assert not left
    assert verdicts
    assert "injected-looking" not in verdicts


def test_few_rows_that_ask_alike_do_not_leave():
    few = set(having()[:20])
    rows = [s for s in ROWS if CUE not in s.input.lower() or s.id in few]
    rows = [replace(s, answers=(f"{s.answers[0]}, {SAID}",)) if s.id in few else s for s in rows]
    assert not audit([rows]).flagged
