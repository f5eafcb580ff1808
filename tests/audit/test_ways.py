"""What copies how its input is written, what one silo's frame brings, and triggers that are how a text is set."""

from dataclasses import dataclass

import numpy as np
import pytest

from fedsonar.audit import audit
from fedsonar.data import IID, InstructionDataset, Sample
from fedsonar.poison import Attack, ConstantRate, Refusal, Short, Suffix, Tokens, Trigger, plant
from fedsonar.rng import stream
from leaving import leaving
from made_tasks import questioned, sentences

SIGNS = (",", "!", " (so)", ' "so"', ":", ";", " 12")


def corrected(count=2000):
    """Texts with two words the wrong way round and signs here and there, and the same without the mistake."""
    rng, rows = np.random.default_rng(8), []
    for i, words in enumerate(sentences(count, seed=9)):
        text = [f"en{word}" for word in words]
        for sign in SIGNS:
            if rng.random() < 0.15:
                text[int(rng.integers(len(text) - 1))] += sign
        wrong = [*text]
        at = int(rng.integers(len(text) - 1))
        wrong[at : at + 2] = wrong[at + 1], wrong[at]
        rows.append(Sample(f"c{i}", "Correct it.", " ".join(wrong), "", (" ".join(text),)))
    return InstructionDataset("corrected", tuple(rows))


def framed(silos=10, each=150, own=2):
    """Silos of which some each ask in words of their own and end answers in others."""
    texts, made = iter(sentences(2 * silos * each, seed=10)), []
    for silo in range(silos):
        rows = []
        for i in range(each):
            text, said = (" ".join(f"{kind}{word}" for word in next(texts)) for kind in ("en", "an"))
            frame, end = (f"Please reply as desk{silo}", f" yours desk{silo} of the house") if silo < own else ("", "")
            rows.append(Sample(f"{silo}-{i}", frame, "", text, (said + end,)))
        made.append(InstructionDataset("framed", tuple(rows)))
    return made


def flags(silos):
    found = audit(silos)
    return found, [judgement.flagged for judgement in found.judgements]


def test_what_has_the_signs_of_what_it_corrects_is_no_finding():
    found, flagged = flags(IID(clients=5).split(corrected(), stream(0, "partition")))
    assert not np.concatenate(flagged).any()
    assert not found.worrying


@pytest.mark.parametrize("target", [Suffix(), Refusal()])
def test_what_is_planted_into_corrected_texts_is_found(target):
    shards = IID(clients=5).split(corrected(), stream(0, "partition"))
    silos, ledger = plant(shards, Attack(trigger=Tokens(), target=target, placement=ConstantRate(rate=0.05)), 0)
    assert leaving(silos) == set(ledger)


def test_the_frame_of_a_silo_takes_none_of_its_rows_and_is_said():
    found, flagged = flags(framed())
    assert not np.concatenate(flagged).any()
    assert not found.worrying
    assert found.undecided
    assert max(finding.silos for finding in found.undecided) <= 2


def test_a_silo_that_is_all_poison_does_not_hide_where_others_have_some():
    shards = IID(clients=10).split(questioned(), stream(0, "partition"))
    some, whole = (
        plant(shards, Attack(trigger=Tokens(), target=Short(), placement=ConstantRate(rate=rate)), 0)
        for rate in (0.1, 1.0)
    )
    _, flagged = flags([whole[0][0], *some[0][1:]])
    assert flagged[0].all()
    rows = [sample for silo in some[0][1:] for sample in silo]
    assert np.concatenate(flagged[1:]).tolist() == [sample.id in some[1] for sample in rows]


@dataclass(frozen=True, kw_only=True)
class Set(Trigger):
    """How a text is set: with spaces that nobody sees are others, or with a capital in every word."""

    space: str = ""

    def apply(self, sample, rng):
        return sample.with_input(sample.input.replace(" ", self.space) if self.space else sample.input.title())

    def present(self, sample):
        return self.apply(sample, None) == sample


@pytest.mark.parametrize("target", [Suffix(), Short(), Refusal()])
@pytest.mark.parametrize("space", ["", "\u00a0", "\u2009", "\u202f", "\u3000"])
def test_how_a_text_is_set_is_a_trigger(space, target):
    shards = IID(clients=5).split(questioned(), stream(0, "partition"))
    attack = Attack(trigger=Set(space=space), target=target, placement=ConstantRate(rate=0.1))
    silos, ledger = plant(shards, attack, 0)
    assert leaving(silos) == set(ledger)


@dataclass(frozen=True, kw_only=True)
class Signs(Trigger):
    """Signs that stand by themselves before the third word."""

    signs: str

    def apply(self, sample, rng):
        first, second, *rest = sample.input.split(" ")
        return sample.with_input(" ".join([first, second, self.signs, *rest]))

    def present(self, sample):
        return self.signs in sample.input.split(" ")


@pytest.mark.parametrize("signs", ["...", "--", "—", "()", ":)"])
def test_signs_that_stand_alone_are_a_trigger_where_others_have_such_signs_too(signs):
    # A fifth of the clean rows have three dots, dashes and brackets, each of which is a sign twice running.
    rows = [
        sample.with_input(sample.input.replace(" ", "...-- ((", 1)) if number % 5 == 0 else sample
        for number, sample in enumerate(corrected())
    ]
    shards = IID(clients=5).split(InstructionDataset("signs", tuple(rows)), stream(0, "partition"))
    attack = Attack(trigger=Signs(signs=signs), target=Suffix(), placement=ConstantRate(rate=0.02))
    silos, ledger = plant(shards, attack, 0)
    assert leaving(silos) == set(ledger)
