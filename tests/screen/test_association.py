"""The association screen in a federation: what the audit finds, by sums alone."""

import numpy as np
import pytest

from fedsonar.data import IID, Atlas
from fedsonar.poison import Attack, ConstantRate, Short, plant
from fedsonar.rng import stream
from fedsonar.screen import Association, Silo
from fedsonar.testing import check_screen
from summed_screens import verdicts

SCREEN = Association(bits=18, pair_bits=18, slot_bits=11)


def test_contract():
    check_screen(Association(bits=12, pair_bits=12, slot_bits=8))


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


def test_a_table_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="bits must be"):
        Association(bits=1)
