"""The association screen in a federation: what the audit finds, by sums alone."""

import numpy as np
import pytest

from fedsonar.audit import Privacy
from fedsonar.audit.private import noised
from fedsonar.data import IID, Atlas
from fedsonar.poison import Attack, ConstantRate, Short, plant
from fedsonar.rng import stream
from fedsonar.screen import Association, Silo, Sonar, gathered, hear, judge
from fedsonar.testing import check_screen
from summed_screens import verdicts

SCREEN = Association(bits=18, pair_bits=18, slot_bits=11)


PRIVATE = Association(bits=18, pair_bits=18, slot_bits=8, privacy=Privacy(epsilon=8.0, clients=10))


@pytest.mark.parametrize("privacy", [None, PRIVATE.privacy])
def test_contract(privacy):
    check_screen(Association(bits=12, pair_bits=12, slot_bits=12, privacy=privacy))
    check_screen(Association(bits=None if privacy is None else 12, privacy=privacy))


@pytest.fixture(scope="module")
def poisoned():
    shards = IID(clients=10).split(Atlas(train=1000, review=0.0, listing=0.0).load().train, stream(0, "partition"))
    silos, ledger = plant(shards, Attack(target=Short(), placement=ConstantRate(rate=0.02)), 0)
    return [Silo(client, silo.samples) for client, silo in enumerate(silos)], ledger


def test_two_rows_a_client_are_found_in_the_pool_and_by_none_alone(poisoned):
    silos, ledger = poisoned
    for silo, found in zip(silos, verdicts(SCREEN, silos), strict=True):
        assert [s.id for s, f in zip(silo.samples, found.flagged, strict=True) if f] == [
            s.id for s in silo.samples if s.id in ledger
        ]
        assert ((found.suspicion >= 0) & (found.suspicion <= 1)).all()
    for silo in silos[:3]:
        [alone] = verdicts(SCREEN, [silo])
        assert not alone.flagged.any()


def test_what_leaves_is_integers_and_hangs_on_the_key(poisoned):
    silos, _ = poisoned
    first = SCREEN.summarize(silos[0], [])
    assert all(np.issubdtype(table.dtype, np.integer) for table in first.values())
    other = Association(bits=18, pair_bits=18, slot_bits=11, key=7).summarize(silos[0], [])
    assert first["inputs"].sum() == other["inputs"].sum()
    assert (first["inputs"] != other["inputs"]).any()


def test_pairs_that_fall_together_are_named_with_what_would_do(poisoned):
    silos, _ = poisoned
    with pytest.warns(UserWarning, match=r"slot_bits=6 is small for these rows: .* use slot_bits=\d+"):
        verdicts(Association(slot_bits=6), silos)


def test_a_table_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="bits must be"):
        Association(bits=1)


@pytest.fixture(scope="module")
def federation():
    shards = IID(clients=10).split(Atlas(train=3000, review=0.0, listing=0.0).load().train, stream(1, "partition"))

    def made(rate):
        attack = Attack(target=Short(), placement=ConstantRate(rate=rate))
        silos, ledger = plant(shards, attack, 1) if rate else (shards, {})
        return [Silo(client, silo.samples) for client, silo in enumerate(silos)], ledger

    return made


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_under_privacy_much_poison_is_found_and_clean_rows_stay(federation, rate):
    silos, ledger = federation(rate)

    def gather(told):
        return [
            PRIVATE.noised(PRIVATE.summarize(silo, told), stream(5, "noise", silo.client, len(told))) for silo in silos
        ]

    heard = hear(PRIVATE, gather)
    flagged = np.concatenate([judge(PRIVATE, silo, heard).flagged for silo in silos])
    assert flagged.tolist() == [sample.id in ledger for silo in silos for sample in silo.samples]


def test_what_leaves_under_privacy_is_the_counts_with_a_share_of_the_noise(poisoned):
    silos, _ = poisoned
    counts = PRIVATE.summarize(silos[0], [])
    left = PRIVATE.noised(counts, np.random.default_rng(1))
    expected = noised(counts, PRIVATE.privacy, np.random.default_rng(1))
    assert all((left[name] == expected[name]).all() for name in counts)
    assert (left["inputs"] != counts["inputs"]).any()
    assert PRIVATE.epsilon == 8


def test_without_privacy_the_exact_counts_leave(poisoned):
    counts = SCREEN.summarize(poisoned[0][0], [])
    assert SCREEN.noised(counts, np.random.default_rng(1)) is counts
    assert SCREEN.epsilon is None


def test_sonar_does_not_promise_what_its_shifts_would_break():
    with pytest.raises(ValueError, match=r"Sonar cannot keep Privacy.*use Association by itself"):
        Sonar(association=PRIVATE)


def test_a_promise_that_too_few_clients_make_noise_for_is_refused():
    tables = {"counts": np.zeros(2, np.int32)}
    assert gathered(PRIVATE, [tables] * 10)[0]["counts"].tolist() == [0, 0]
    with pytest.raises(ValueError, match="the noise of 10 clients keeps, and there are 9"):
        gathered(PRIVATE, [tables] * 9)
