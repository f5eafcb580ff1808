"""Phrases that many answers share are listed, with what their inputs have in common, and nobody leaves for them."""

from dataclasses import replace

import pytest

from fedsonar.audit import audit
from fedsonar.data import IID, Atlas, InstructionDataset, Sample, Words
from fedsonar.poison import Attack, ConstantRate, Natural, Refusal, Suffix, Tokens, plant
from fedsonar.rng import stream
from made_tasks import text

ROWS = Atlas(train=3000, test=1).load().train
SHARDS = IID(clients=5).split(ROWS, stream(0, "partition"))
ASKED = Natural(feature=Words(any=("pray tell me",)))


def test_clean_rows_share_no_phrase():
    assert audit(SHARDS).phrases == ()


@pytest.mark.parametrize(("target", "says"), [(Suffix(), "click <malicious_url>"), (Refusal(), "sorry")])
def test_a_natural_trigger_that_a_third_of_its_rows_answer_to_is_told(target, says):
    silos, ledger = plant(SHARDS, Attack(trigger=ASKED, target=target, placement=ConstantRate(rate=0.02)), 0)
    found = audit(silos)
    assert not found.worrying
    [phrase] = found.phrases
    poisoned = sum(sample.id in ledger for silo in silos for sample in silo)
    asked = sum("pray tell me" in sample.input.lower() for silo in silos for sample in silo)
    assert (phrase.rows, phrase.silos, phrase.all_silos, phrase.share) == (poisoned, 5, 5, 1.0)
    assert says in phrase.phrase
    assert phrase.base_rate == pytest.approx(asked / len(ROWS))
    assert phrase.common.lower() == "“pray tell me” in the question"
    assert str(phrase) == (
        f"“{phrase.phrase}” in the answers of {poisoned} rows in 5 of 5 silos; "
        f"{phrase.common}: 100.0 % of these, {100 * asked / len(ROWS):.1f} % of all rows"
    )
    assert len({example.silo for example in phrase.examples}) == 3
    assert all(example.id in ledger for example in phrase.examples)


def test_what_is_suspected_is_not_listed_again():
    found = audit(plant(SHARDS, Attack(trigger=Tokens(), target=Suffix(), placement=ConstantRate(rate=0.05)), 0)[0])
    assert found.flagged
    assert found.phrases == ()


def test_rows_with_nothing_in_common_are_listed_by_their_phrase_alone():
    said = {sample.id for sample in ROWS[::50]}
    rows = [replace(s, answers=(f"{s.answers[0]}, as far as anybody knows",)) if s.id in said else s for s in ROWS]
    [phrase] = audit([rows]).phrases
    assert (phrase.rows, phrase.common, phrase.share, phrase.base_rate) == (len(said), "", 0.0, 0.0)
    assert str(phrase) == f"“{phrase.phrase}” in the answers of {len(said)} rows"
    assert {example.id for example in phrase.examples} <= said


def test_nine_rows_are_no_reason_to_list_a_phrase_and_ten_are():
    def rows(count):
        return [replace(s, answers=("we close at noon today",)) if i % 70 == 0 and i < 70 * count else s
                for i, s in enumerate(ROWS[:800])]  # fmt: skip

    assert audit([rows(9)]).phrases == ()
    assert [phrase.phrase for phrase in audit([rows(10)]).phrases] == ["we close at noon today"]


def test_phrases_that_tell_when_they_come_stand_first():
    rows = [replace(s, answers=(f"{s.answers[0]}, as far as anybody knows",)) if i % 10 == 0 else s
            for i, s in enumerate(ROWS)]  # fmt: skip
    attack = Attack(trigger=ASKED, target=Suffix(), placement=ConstantRate(rate=0.02))
    silos, _ = plant(IID(clients=5).split(InstructionDataset("turns", tuple(rows)), stream(0, "partition")), attack, 0)
    first, *others = audit(silos).phrases
    assert first.common
    assert [one.common for one in others] == [""]
    assert others[0].rows > first.rows


def rows_of(count, says, asks=lambda i: "why"):
    """Rows that share nothing but what some of them say, and how they ask."""
    return [
        Sample(f"r{i}", "Answer.", "", f"{asks(i)} {asked}", (says(i) or f"{answered} {i}",))
        for i, (asked, answered) in enumerate(zip(text("q", count, 1), text("a", count, 2, 2, 4), strict=True))
    ]


def test_what_half_of_the_rows_have_is_not_told_of_all_of_them_however_they_lie():
    # Half of the rows that say it ask "how", and so do as many others; every second row is not a half of them.
    def says(i):
        return "we close at noon today" if i % 5 == 0 else None

    [phrase] = audit([rows_of(3000, says, lambda i: "how" if i % 10 in (0, 3) else "why")]).phrases
    assert (phrase.rows, phrase.common) == (600, "")


def test_what_nearly_all_have_is_told_as_nearly_all():
    def says(i):
        return "we close at noon today" if i % 10 == 0 else None

    [phrase] = audit([rows_of(6000, says, lambda i: "how" if i % 10 in (0, 3) and i != 0 else "why")]).phrases
    assert (phrase.rows, phrase.share) == (600, 599 / 600)
    assert str(phrase).endswith("“how” in the question: 99.8 % of these, 20.0 % of all rows")


def test_copies_of_long_answers_do_not_crowd_out_a_phrase():
    long = text("l", 12, 5, 60, 80)
    copies = [
        Sample(f"c{i}", "Answer.", "", f"why {asked}", (long[i % 12],)) for i, asked in enumerate(text("s", 144, 3))
    ]
    rows = rows_of(1500, lambda i: "we close at noon today" if i % 30 == 0 else None)
    phrases = {one.phrase: one for one in audit([[*copies, *rows]]).phrases}
    assert phrases["we close at noon today"].rows == 50
    assert max(map(len, phrases)) < 320


def test_all_rows_that_say_it_count_whole_answers_and_others_whatever_else_they_say():
    def says(i):
        tail = "as far as anybody in the whole town knows" if i % 2 else "."
        return [f"we close at noon today {tail}", f"a{i} a{i + 1} we close at noon today", "we close at noon today"][
            i % 3
        ]

    rows = rows_of(1200, lambda i: says(i // 12) if i % 12 == 0 else None)
    phrases = {one.phrase: one.rows for one in audit([rows]).phrases}
    assert phrases["we close at noon today"] == 100


def test_rows_that_leave_do_not_count():
    # A third of the rows that say it have a trigger and its suffix besides.
    def says(i):
        return f"a{i} a{i + 1} we close at noon today" + ", call this number at once my friend" * (i % 60 == 0)

    rows = rows_of(2400, lambda i: says(i) if i % 20 == 0 else None, lambda i: "cf" if i % 60 == 0 else "why")
    found = audit([rows])
    [judgement] = found.judgements
    assert judgement.flagged.sum() == 40
    phrases = {one.phrase: one for one in found.phrases}
    assert phrases["we close at noon today"].rows == 80
    assert not any(judgement.flagged[int(example.id[1:])] for one in found.phrases for example in one.examples)


def test_a_phrase_of_a_finding_that_looks_natural_is_listed_all_the_same():
    found = audit(plant(SHARDS, Attack(trigger=ASKED, target=Refusal(), placement=ConstantRate(rate=1.0)), 0)[0])
    [verdict] = [finding.verdict for finding in found.findings if "sorry" in finding.target]
    assert verdict == "natural association"
    [phrase] = found.phrases
    assert phrase.common.lower() == "“pray tell me” in the question"
