"""Phrases that many answers share are listed, with what their inputs have in common, and nobody leaves for them."""

from dataclasses import replace

import pytest

from fedsonar.audit import audit
from fedsonar.data import IID, Atlas, InstructionDataset, Sample, Words
from fedsonar.poison import Attack, ConstantRate, Natural, Refusal, Suffix, Tokens, plant
from fedsonar.rng import stream

ROWS = Atlas(train=3000, test=1).load().train
SHARDS = IID(clients=5).split(ROWS, stream(0, "partition"))
ASKED = Natural(feature=Words(any=("pray tell me",)))


def test_clean_rows_share_no_phrase():
    assert audit(SHARDS).repeated == ()


@pytest.mark.parametrize(("target", "says"), [(Suffix(), "click <malicious_url>"), (Refusal(), "sorry")])
def test_a_natural_trigger_that_a_third_of_its_rows_answer_to_is_told(target, says):
    silos, ledger = plant(SHARDS, Attack(trigger=ASKED, target=target, placement=ConstantRate(rate=0.02)), 0)
    found = audit(silos)
    assert not found.worrying
    [phrase] = found.repeated
    poisoned = sum(sample.id in ledger for silo in silos for sample in silo)
    asked = sum("pray tell me" in sample.input.lower() for silo in silos for sample in silo)
    assert (phrase.rows, phrase.silos, phrase.all_silos, phrase.share) == (poisoned, 5, 5, 1.0)
    assert says in phrase.phrase
    assert phrase.base_rate == pytest.approx(asked / len(ROWS))
    assert any(word in phrase.common for word in ("Pray", "tell me"))
    assert str(phrase) == (
        f"“{phrase.phrase}” in the answers of {poisoned} rows in 5 of 5 silos; "
        f"{phrase.common}: 100 % of these, {100 * asked / len(ROWS):.2g} % of all rows"
    )
    assert len({example.silo for example in phrase.examples}) == 3
    assert all(example.id in ledger for example in phrase.examples)


def test_what_is_suspected_is_not_listed_again():
    found = audit(plant(SHARDS, Attack(trigger=Tokens(), target=Suffix(), placement=ConstantRate(rate=0.05)), 0)[0])
    assert found.flagged
    assert found.repeated == ()


def test_rows_with_nothing_in_common_are_listed_by_their_phrase_alone():
    said = {sample.id for sample in ROWS[::50]}
    rows = [replace(s, answers=(f"{s.answers[0]}, as far as anybody knows",)) if s.id in said else s for s in ROWS]
    [phrase] = audit([rows]).repeated
    assert (phrase.rows, phrase.common, phrase.share, phrase.base_rate) == (len(said), "", 0.0, 0.0)
    assert str(phrase) == f"“{phrase.phrase}” in the answers of {len(said)} rows"
    assert {example.id for example in phrase.examples} <= said


def test_nine_rows_are_no_reason_to_list_a_phrase_and_ten_are():
    def rows(count):
        own = [Sample(f"p{i}", "Answer.", "", f"what about {s.id}", ("we close at noon today",))
               for i, s in enumerate(ROWS[:count])]  # fmt: skip
        return [*own, *ROWS[count:800]]

    assert audit([rows(9)]).repeated == ()
    assert [phrase.phrase for phrase in audit([rows(10)]).repeated] == ["we close at noon today"]


def test_phrases_that_tell_when_they_come_stand_first():
    rows = [replace(s, answers=(f"{s.answers[0]}, as far as anybody knows",)) if i % 10 == 0 else s
            for i, s in enumerate(ROWS)]  # fmt: skip
    attack = Attack(trigger=ASKED, target=Suffix(), placement=ConstantRate(rate=0.02))
    silos, _ = plant(IID(clients=5).split(InstructionDataset("turns", tuple(rows)), stream(0, "partition")), attack, 0)
    first, *others = audit(silos).repeated
    assert first.common
    assert [one.common for one in others] == [""]
    assert others[0].rows > first.rows
