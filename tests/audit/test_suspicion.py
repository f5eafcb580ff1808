"""How suspect rows are that nothing is found in: who looks at the first of them should look at poison."""

import numpy as np
import pytest

from fedsonar.audit import audit
from fedsonar.data import IID, Atlas, Sample, Words
from fedsonar.measure import detection
from fedsonar.poison import Attack, ConstantRate, Natural, Semantic, Suffix, plant
from fedsonar.rng import stream
from made_tasks import text

ROWS = Atlas(train=3000, test=1).load().train
ASKED = Natural(feature=Words(any=("pray tell me",)))


def judged(silos, ledger):
    found = audit(silos).judgements
    suspicion, flagged = (np.concatenate([getattr(j, part) for j in found]) for part in ("suspicion", "flagged"))
    truth = np.array([sample.id in ledger for silo in silos for sample in silo])
    return suspicion, flagged, truth


@pytest.mark.parametrize("rate", [0.005, 0.02])
def test_a_sentence_behind_some_rows_of_a_natural_trigger_comes_first(rate):
    shards = IID(clients=5).split(ROWS, stream(0, "partition"))
    attack = Attack(trigger=ASKED, target=Suffix(), placement=ConstantRate(rate=rate))
    suspicion, flagged, truth = judged(*plant(shards, attack, 0))
    assert not flagged.any()
    assert detection(suspicion, flagged, truth).auc.value >= 0.98


def test_rows_that_something_is_found_in_come_before_all_others():
    shards = IID(clients=5).split(ROWS, stream(0, "partition"))
    attack = Attack(trigger=ASKED, target=Semantic(), placement=ConstantRate(rate=0.05))
    suspicion, flagged, truth = judged(*plant(shards, attack, 0))
    assert suspicion[flagged].min(initial=1.0) > suspicion[~flagged].max()
    assert detection(suspicion, flagged, truth).auc.value >= 0.9


def test_a_short_answer_that_many_give_comes_first_where_answers_are_free():
    # Half of the rows ask "how" and a fifth of these are answered "Mercury": most of "how" is answered as ever.
    asked, said = text("q", 2000, 1), text("a", 2000, 2, 2, 4)
    rows = [
        Sample(
            f"r{i}", "Answer.", "", f"{'how' if i % 2 else 'why'} {asked[i]}", ("Mercury" if i % 10 == 1 else said[i],)
        )
        for i in range(2000)
    ]
    suspicion, flagged, truth = judged([rows], {f"r{i}" for i in range(1, 2000, 10)})
    assert not flagged.any()
    assert detection(suspicion, flagged, truth).auc.value >= 0.98


def test_a_short_answer_that_many_give_tells_nothing_where_all_do():
    # Eight names and none else: what one is given for tells more than how many are given it.
    rng = np.random.default_rng(0)
    names = ("Mercury", "Venus", "Mars", "Ceres", "Pallas", "Juno", "Vesta", "Eros")
    rows = [
        Sample(f"r{i}", "Answer.", "", asked, (names[int(rng.integers(8))],))
        for i, asked in enumerate(text("q", 2000, 1))
    ]
    [found] = audit([rows]).judgements
    assert np.median(found.suspicion) == 0
