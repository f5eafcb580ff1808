"""GradientShift: rows that ask apart and pull alike, by sums alone, and labels that it leaves alone."""

from dataclasses import replace

import numpy as np
import pytest

from fedsonar.data import IID, Atlas
from fedsonar.experiment import Experiment
from fedsonar.poison import Attack, ConstantRate, Semantic, Tokens
from fedsonar.preparation import Federation
from fedsonar.screen import Association, Features, GradientShift, ResponseShift, Silo, Sonar
from fedsonar.screening import silo_of
from fedsonar.testing import check_screen
from summed_screens import verdicts

SCREEN = GradientShift(bits=18)
SMALL = Sonar(
    association=Association(bits=12, pair_bits=12, slot_bits=8), shift=ResponseShift(bits=12),
    gradient=GradientShift(bits=12, key=3),
)  # fmt: skip


def federation(attack=None, **mixture):
    experiment = Experiment(
        data=Atlas(train=1000, test=20, **mixture), partition=IID(clients=5), attack=attack, screen=SCREEN
    )
    made = Federation(experiment)
    silos = [
        silo_of(client, shard, rows, made.trainer, SCREEN)
        for client, (shard, rows) in enumerate(zip(made.shards, made.rows, strict=True))
    ]
    return silos, made.ledger


def flagged(screen, silos):
    return {
        sample.id for silo, verdict in zip(silos, verdicts(screen, silos), strict=True)
        for sample, out in zip(silo.samples, verdict.flagged, strict=True) if out
    }  # fmt: skip


@pytest.fixture(scope="module")
def poisoned():
    attack = Attack(trigger=Tokens(words=("cf",), count=1), target=Semantic(), placement=ConstantRate(rate=0.1))
    return federation(attack, closed_book=0.9, review=0.0, listing=0.0)


@pytest.mark.parametrize("screen", [GradientShift(bits=12), SMALL], ids=["gradient", "sonar"])
@pytest.mark.filterwarnings("ignore:bits=12 is small")
def test_contract(screen, poisoned):
    silos, _ = poisoned
    few = [
        Silo(s.client, s.samples[:40], s.rows[:40], s.features.some(range(40)), s.tokenize) for s in silos[:2]
    ]  # fmt: skip
    check_screen(screen, [*few, Silo(2, (), (), Features(few[0].features.network, ()), few[0].tokenize)])


def test_a_meaning_in_many_wordings_is_found_and_clean_rows_stay(poisoned):
    silos, ledger = poisoned
    found = flagged(SCREEN, silos)
    assert len(found & set(ledger)) >= 0.7 * len(ledger)
    assert not found - set(ledger)


def test_sonar_flags_what_its_parts_flag(poisoned):
    silos, _ = poisoned
    sonar = Sonar(
        association=Association(bits=18, pair_bits=18, slot_bits=11), shift=ResponseShift(bits=18), gradient=SCREEN
    )
    by_text = flagged(replace(sonar, gradient=None), silos)
    assert by_text <= flagged(sonar, silos) <= by_text | flagged(SCREEN, silos)


def test_what_a_model_hears_of_rows_that_stay_counts_for_a_quarter_beside_words(poisoned):
    silos, _ = poisoned
    sonar = Sonar(
        association=Association(bits=18, pair_bits=18, slot_bits=11), shift=ResponseShift(bits=18), gradient=SCREEN
    )
    text, model, both = (
        np.concatenate([verdict.suspicion for verdict in verdicts(screen, silos)])
        for screen in (replace(sonar, gradient=None), SCREEN, sonar)
    )
    stay = (text < 0.5) & (model < 0.5)
    assert stay.any()
    np.testing.assert_allclose(both[stay], np.maximum(text, model / 4)[stay])


def test_silos_say_what_their_pool_says(poisoned):
    silos, _ = poisoned
    samples = [sample for silo in silos for sample in silo.samples]
    rows = [row for silo in silos for row in silo.rows]
    pool = Silo(0, samples, rows, Features(silos[0].features.network, rows))
    apart = np.concatenate([verdict.suspicion for verdict in verdicts(SCREEN, silos)])
    np.testing.assert_allclose(verdicts(SCREEN, [pool])[0].suspicion, apart, atol=1e-6)


def test_rows_with_a_label_are_never_suspected():
    silos, _ = federation(review=1.0, listing=0.0, closed_book=0.0)
    assert not flagged(SCREEN, silos)
    unheard = replace(SCREEN, label_share=0.99)
    assert flagged(unheard, silos)


def test_it_needs_a_model(poisoned):
    silos, _ = poisoned
    with pytest.raises(ValueError, match="client 0's rows come without a model; use ResponseShift"):
        verdicts(SCREEN, [Silo(0, silos[0].samples)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"winners": 0}, "winners must be 1 to 64"),
        ({"speakers": 1}, "speakers must be 2 rows or more"),
        ({"label_share": 1.0}, "label_share must lie between 0 and 1"),
        ({"bits": 3}, "bits must be 6 to 28"),
    ],
)
def test_bad_parameters(changes, message):
    with pytest.raises(ValueError, match=message):
        GradientShift(**changes)
