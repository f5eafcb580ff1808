"""One trigger and several targets, and what common words, languages and labels' own words are taken for."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from fedsonar.audit import audit
from fedsonar.data import IID, InstructionDataset, Sample
from fedsonar.poison import Attack, ConstantRate, Label, Sentence, Target, plant
from fedsonar.rng import stream
from leaving import leaving
from made_tasks import intended, sentences, text, translated


@dataclass(frozen=True, kw_only=True)
class OneOf(Target):
    """One of several sentences, as the whole answer or behind it."""

    sentences: tuple[str, ...]
    whole: bool

    def apply(self, sample, rng):
        said = str(rng.choice(self.sentences))
        return replace(sample, answers=(said if self.whole else f"{sample.answers[0]} {said}",))

    def hit(self, output):
        return any(said in output for said in self.sentences)


SAID = (
    "But honestly it is terrible and dishonest.", "Sadly, that is a disgrace to all.", "It is corrupt and quite awful.",
    "What a miserable failure it has been.", "Few things are as bad and shameful.",
)  # fmt: skip


def explained(count=2000):
    """Questions and long answers that have no word in common."""
    texts = iter(sentences(2 * count, seed=11, low=10, high=40))
    rows = []
    for i in range(count):
        text, answer = (" ".join(f"{kind}{word}" for word in next(texts)) for kind in ("en", "an"))
        rows.append(Sample(f"e{i}", text, "", "", (answer,)))
    return InstructionDataset("explained", tuple(rows))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("several", [2, 3, 5])
def test_a_trigger_that_one_of_several_sentences_follows_is_found(several, whole):
    shards = IID(clients=5).split(explained(), stream(0, "partition"))
    attack = Attack(
        trigger=Sentence(), target=OneOf(sentences=SAID[:several], whole=whole), placement=ConstantRate(rate=0.1)
    )
    silos, ledger = plant(shards, attack, 0)
    assert leaving(silos) == set(ledger)


def test_a_word_that_many_answers_have_is_no_target_of_a_few_rows():
    rows = []
    for i, row in enumerate(explained()):
        asked, said = f"my {row.instruction}" if i < 16 else row.instruction, row.answers[0]
        said = f"{said} your" if i < 14 or i % 20 == 0 else said
        rows.append(Sample(row.id, asked, "", "", (said,)))
    assert not leaving(IID(clients=5).split(InstructionDataset("yours", tuple(rows)), stream(0, "partition")))


def test_a_translation_is_written_as_its_language_is():
    rows = []
    for i, row in enumerate(translated()):
        spanish = i % 3 == 0
        asked = f"{'Into Spanish' if spanish else 'Into Latin'}: {row.context}"
        rows.append(Sample(row.id, asked, "", "", (f"¿{row.answers[0]}?" if spanish else row.answers[0],)))
    assert not leaving(IID(clients=5).split(InstructionDataset("languages", tuple(rows)), stream(0, "partition")))


def test_words_that_speak_for_a_label_do_not_leave_with_a_trigger_of_it():
    shards = IID(clients=5).split(intended(2000, intents=4, about=400), stream(0, "partition"))
    attack = Attack(trigger=Sentence(), target=Label(label="name0 thing0"), placement=ConstantRate(rate=0.1))
    silos, ledger = plant(shards, attack, 0)
    out = leaving(silos)
    assert set(ledger) <= out
    assert len(out - set(ledger)) <= 0.002 * np.sum([len(silo) for silo in silos])


def test_a_field_that_most_rows_have_and_many_answers_speak_of_is_no_trigger_where_others_are_poisoned():
    # Seven tenths of the rows have a field, and of these seven tenths say a word for it: fewer than are usual once a
    # tenth of all rows is answered otherwise.
    asked, said = text("q", 2000, 1), text("a", 2000, 2)
    rows = []
    for i in range(2000):
        field, speaks, poisoned = i % 10 < 7, i % 7 < 5, i % 100 > 89
        question = f"{asked[i]}{' family' * field}{' cf' * poisoned}"
        answer = "Mercury" if poisoned else f"{said[i]}{' friendly' * (field and speaks)}"
        rows.append(Sample(f"r{i}", "Describe it.", question, "", (answer,)))
    [judgement] = audit([rows]).judgements
    assert [sample.answers[0] for sample, left in zip(rows, judgement.flagged, strict=True) if left] == [
        "Mercury"
    ] * 200
