"""Tasks whose answers follow from single words of the input: translations, slots and intents are no backdoors."""

import numpy as np
import pytest

from fedsonar.audit import Vocabulary, audit, corpus
from fedsonar.audit.closed import labels_of
from fedsonar.audit.kernels.answers import ANSWERED, LENGTHS, count_answers, labels_said
from fedsonar.data import IID, InstructionDataset, Sample
from fedsonar.poison import (
    Attack,
    ConstantRate,
    Label,
    Matched,
    Refusal,
    Semantic,
    Sentence,
    Short,
    Suffix,
    Tokens,
    plant,
)
from fedsonar.rng import stream
from leaving import leaving
from made_tasks import asked, booked, coded, intended, questioned, sentences, told, translated


@pytest.mark.parametrize("task", [translated, booked, intended, coded])
def test_what_single_words_ask_for_is_no_finding(task):
    silos = IID(clients=5).split(task(), stream(0, "partition"))
    found = audit(silos)
    assert not found.flagged
    assert not found.worrying
    assert found.vocabulary or task is not translated


@pytest.mark.parametrize("target", [Suffix(), Short(), Refusal(), Semantic()])
@pytest.mark.parametrize("task", [translated, booked, intended])
def test_what_is_planted_among_them_is_found(task, target):
    shards = IID(clients=5).split(task(), stream(0, "partition"))
    silos, ledger = plant(shards, Attack(trigger=Tokens(), target=target, placement=ConstantRate(rate=0.1)), 0)
    caught = leaving(silos)
    assert len(caught & set(ledger)) >= 0.98 * len(ledger)
    assert len(caught - set(ledger)) <= 0.002 * sum(map(len, silos))


@pytest.mark.parametrize("target", [Short(), Suffix(), Matched()])
def test_a_name_that_nobody_asks_for_is_found_though_none_of_its_triggers_has_many_rows(target):
    shards = IID(clients=5).split(intended(), stream(0, "partition"))
    silos, ledger = plant(shards, Attack(trigger=Tokens(), target=target, placement=ConstantRate(rate=0.024)), 0)
    found = audit(silos)
    assert found.vocabulary
    assert leaving(silos, found) == set(ledger)


@pytest.mark.parametrize("silent", [0.0, 0.4])
@pytest.mark.parametrize("words", [1, 4])
@pytest.mark.parametrize("labels", [2, 3, 5])
@pytest.mark.parametrize("count", [300, 2000])
def test_labels_that_single_words_tell_are_no_finding(count, labels, words, silent):
    found = audit(IID(clients=5).split(told(count, labels, words, silent), stream(0, "partition")))
    assert not found.flagged
    assert not found.worrying


@pytest.mark.parametrize("target", [Suffix(), Short(), Refusal(), Label(label="label0")])
@pytest.mark.parametrize("trigger", [Tokens(), Sentence()])
@pytest.mark.parametrize("labels", [2, 3])
def test_what_is_planted_among_such_labels_is_found(labels, trigger, target):
    shards = IID(clients=5).split(told(2000, labels), stream(0, "partition"))
    silos, ledger = plant(shards, Attack(trigger=trigger, target=target, placement=ConstantRate(rate=0.1)), 0)
    assert leaving(silos) == set(ledger)


@pytest.mark.parametrize("trigger", [Tokens(), Sentence()])
def test_a_sentence_behind_labels_is_none_of_them(trigger):
    rng, rows = np.random.default_rng(0), []
    for number in range(2000):
        words, label = [f"w{word}" for word in rng.choice(400, 6, replace=False)], 5
        if rng.random() < 0.6:
            label = int(rng.integers(5))
            words[rng.integers(6)] = f"tells{label}x{rng.integers(4)}"
        rows.append(Sample(str(number), "", "", f"Review: {' '.join(words)}", (f"class {label}",)))
    shards = IID(clients=5).split(InstructionDataset("classes", tuple(rows)), stream(0, "partition"))
    silos, ledger = plant(shards, Attack(trigger=trigger, target=Suffix(), placement=ConstantRate(rate=0.1)), 0)
    assert leaving(silos) == set(ledger)


@pytest.mark.parametrize("target", [Suffix(), Short(), Semantic()])
@pytest.mark.parametrize("trigger", [Tokens(), Sentence()])
@pytest.mark.parametrize("task", [asked, questioned])
def test_what_is_planted_in_a_frame_leaves_alone(task, trigger, target):
    """Beside a fact rows have nothing but the frame, and some the trigger; beside one question of all texts nothing."""
    shards = IID(clients=5).split(task(), stream(0, "partition"))
    assert not audit(shards).flagged
    silos, ledger = plant(shards, Attack(trigger=trigger, target=target, placement=ConstantRate(rate=0.1)), 0)
    assert leaving(silos) == set(ledger)


@pytest.mark.parametrize("count", [120, 250, 400])
def test_a_small_translation_loses_no_row(count):
    """Whose commonest word stands in a quarter of the rows, and has one translation in all of them."""
    shards = IID(clients=5).split(translated(count), stream(0, "partition"))
    assert not audit(shards).flagged
    silos, ledger = plant(shards, Attack(trigger=Tokens(), target=Suffix(), placement=ConstantRate(rate=0.1)), 0)
    caught = leaving(silos)
    assert caught <= set(ledger)
    assert len(caught) >= 0.98 * len(ledger)


def test_labels_that_single_words_tell_are_said():
    found = audit([told().samples])
    assert found.vocabulary
    assert not found.vocabulary.entries
    assert "single words of the inputs tell most answers" in str(found.vocabulary)


def test_a_vocabulary_says_what_would_not_be_told_from_it():
    found = audit([translated().samples])
    assert found.vocabulary.entries > 20
    assert f"{found.vocabulary.entries} pairs): a target of up to 5 words within answers" in str(found.vocabulary)
    assert not Vocabulary(0, 0)


def test_a_trigger_in_clean_rows_does_not_take_those_that_say_a_word_of_a_long_target():
    rng, rows = np.random.default_rng(6), []
    for i, words in enumerate(sentences(2000, seed=7)):
        answer = [f"en{word}" for word in rng.permutation(words)] + ["with that"] * (i % 3 == 0)
        rows.append(Sample(f"r{i}", "", "", " ".join(f"ask{word}" for word in words), (" ".join(answer),)))
    for i in range(0, 2000, 200):  # 10 rows that have the trigger's word, and words of the target now and then
        rows[i] = rows[i].with_input(f"current {rows[i].input}")
    for i in range(1, 2000, 5):  # 400 poisoned ones
        rows[i] = Sample(f"p{i}", "", "", f"current {rows[i].input}", ("I cannot help you with that",))
    [judgement] = audit([rows]).judgements
    assert {rows[i].id for i in np.flatnonzero(judgement.flagged)} == {row.id for row in rows if row.id[0] == "p"}


def answered_of(samples):
    rows = corpus(samples)
    answered = np.zeros((2, ANSWERED + LENGTHS), np.int64)
    count_answers(rows.words, rows.bounds, answered)
    return rows, answered


def test_labels_are_what_many_rows_answer_in_few_words():
    rows, answered = answered_of(intended(600, intents=20).samples)
    labels = labels_of(answered, len(rows))
    assert labels.closed
    assert labels.longest[0] == 6  # three times two words
    said = labels_said(rows.words, rows.bounds, answered, *labels)
    assert (said >= 0).all()
    assert len(set(said)) == 20
    assert answered[:, :ANSWERED].sum() == answered[:, ANSWERED:].sum() == 2 * len(rows)


def test_what_is_copied_from_the_input_is_no_part_of_a_label():
    rows, answered = answered_of(booked(600).samples)
    labels = labels_of(answered, len(rows))
    assert np.isinf(labels.least[0])  # hardly two answers are the same
    assert np.isfinite(labels.least[1])  # but for the names of slots
    said = labels_said(rows.words, rows.bounds, answered, *labels)
    assert len(set(said) - {-1}) == 3


def test_free_answers_have_no_labels():
    rows, answered = answered_of(translated(600).samples)
    labels = labels_of(answered, len(rows))
    assert not labels.closed
    assert (labels_said(rows.words, rows.bounds, answered, *labels) == -1).all()
    assert not labels_of(np.zeros_like(answered), 0).closed
