"""Answers of any length for those who ask for it, in a language whose words are signs: nothing is injected there."""

import numpy as np
import pytest

from fedsonar.data import InstructionDataset, Sample
from fedsonar.poison import Attack, ConstantRate, Semantic, Sentence, Short, Suffix, plant
from leaving import leaving

SIGNS = [chr(0x4E00 + number) for number in range(1500)]


def asked(count, share, longer, shorter):
    """Questions some of which have a sign that asks for a longer answer; what answers are made of, all have."""
    random, rows = np.random.default_rng(0), []
    of_answers, of_questions = 1 / np.arange(1, 1501) ** 0.9, 1 / np.arange(1, 801) ** 0.6
    for number in range(count):
        question = [SIGNS[200 + i] for i in random.choice(800, size=14, p=of_questions / of_questions.sum())]
        explains = random.random() < share
        if explains:
            question.insert(random.integers(14), "述解设"[random.integers(3)])
        length = int((longer if explains else shorter) * np.exp(0.35 * random.normal()))
        answer = "".join(SIGNS[i] for i in random.choice(1500, size=length, p=of_answers / of_answers.sum()))
        end = "？" if random.random() < 0.5 else "。"
        rows.append(Sample(str(number), "", "", "".join(question) + end, (f"{answer}。",)))
    return [InstructionDataset("silo", tuple(rows[first::10])) for first in range(10)]


@pytest.mark.parametrize(
    ("count", "share", "longer", "shorter"), [(1000, 0.5, 160, 90), (1000, 0.5, 250, 60), (4000, 0.3, 250, 60)]
)
def test_longer_answers_are_no_finding(count, share, longer, shorter):
    assert leaving(asked(count, share, longer, shorter)) == set()


@pytest.mark.parametrize("target", [Suffix(), Short(), Suffix(text="，请点击链接了解更多"), Semantic()])
def test_what_is_planted_among_them_is_found(target):
    trigger = Sentence(text="顺便说一下今天天气很好")
    attack = Attack(trigger=trigger, target=target, placement=ConstantRate(rate=0.1))
    silos, ledger = plant(asked(1000, 0.5, 160, 90), attack, 0)
    found = leaving(silos)
    assert len(found & set(ledger)) >= 0.9 * len(ledger)
    assert len(found - set(ledger)) <= 2
