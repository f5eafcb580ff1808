"""How suspect rows are that nothing is found in: who looks at the first of them should look at poison."""

import numpy as np
import pytest

from fedsonar.audit import audit
from fedsonar.data import IID, Atlas, Words
from fedsonar.measure import detection
from fedsonar.poison import Attack, ConstantRate, Natural, Semantic, Suffix, plant
from fedsonar.rng import stream

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
