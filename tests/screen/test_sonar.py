"""Sonar and ResponseShift in a federation: by sums alone, fixed words and many wordings together."""

import numpy as np
import pytest

from fedsonar.data import IID, Atlas
from fedsonar.data.feature import words as words_of
from fedsonar.poison import Attack, ConstantRate, Semantic, Short, Tokens, plant
from fedsonar.rng import stream
from fedsonar.screen import Association, ResponseShift, Silo, Sonar, hear, judge
from fedsonar.testing import check_screen
from made_tasks import translated
from summed_screens import verdicts

SHIFT = ResponseShift(bits=18)
SONAR = Sonar(association=Association(bits=18, pair_bits=18, slot_bits=11), shift=SHIFT)
ROWS = Atlas(train=1500, closed_book=0.9, review=0.0, listing=0.0).load().train


def planted(target, rate=0.04):
    shards = IID(clients=10).split(ROWS, stream(0, "partition"))
    attack = Attack(trigger=Tokens(words=("cf",), count=1), target=target, placement=ConstantRate(rate=rate))
    silos, ledger = plant(shards, attack, 0)
    return [Silo(client, silo.samples) for client, silo in enumerate(silos)], ledger


def share_found(silos, ledger, screen):
    found = verdicts(screen, silos)
    for verdict in found:
        assert ((verdict.suspicion >= 0) & (verdict.suspicion <= 1)).all()
        np.testing.assert_array_equal(verdict.flagged, verdict.suspicion >= 0.5)
    flagged = [
        s.id for silo, v in zip(silos, found, strict=True) for s, f in zip(silo.samples, v.flagged, strict=True) if f
    ]
    assert len(set(flagged) - set(ledger)) <= 2
    return len(set(flagged) & set(ledger)) / len(ledger)


@pytest.mark.parametrize("screen", [ResponseShift(bits=12), Sonar(
    association=Association(bits=12, pair_bits=12, slot_bits=12), shift=ResponseShift(bits=12),
), Sonar()], ids=["shift", "sonar", "fitted"])  # fmt: skip
@pytest.mark.filterwarnings("ignore:bits=12 is small")
def test_contract(screen):
    check_screen(screen)


def test_sonar_finds_both_kinds_and_each_part_its_own():
    wordings, fixed = planted(Semantic()), planted(Short(), rate=0.02)
    assert share_found(*wordings, SONAR) >= 0.95
    assert share_found(*wordings, SHIFT) >= 0.95
    assert share_found(*wordings, SONAR.association) < 0.1
    assert share_found(*fixed, SONAR) == 1.0


def test_tables_are_as_large_as_the_rows_need_and_find_what_larger_ones_find():
    silos, _ = planted(Short(), rate=0.02)
    fitted, said = Sonar(), []

    def gather(heard):
        said.append([fitted.summarize(silo, heard) for silo in silos])
        return said[-1]

    heard = hear(fitted, gather)
    assert len(heard) == fitted.passes == SONAR.passes + 1
    samples = [sample for silo in silos for sample in silo.samples]
    words = sum(len(words_of(f"{s.instruction} {s.context} {s.question}")) for s in samples)
    assert heard[0]["association/features"][0] == pytest.approx(3 * words + 15 * 1500, rel=0.01)
    assert {name: len(said[1][0][name]) for name in ("association/inputs", "shift/inputs")} == {
        "association/inputs": 1 << 19, "shift/inputs": 1 << 19,
    }  # fmt: skip
    for silo, given in zip(silos, verdicts(SONAR, silos), strict=True):
        np.testing.assert_array_equal(judge(fitted, silo, heard).flagged, given.flagged)


def test_sonar_says_of_fixed_words_what_the_association_says():
    silos, _ = planted(Short(), rate=0.02)
    for one, other in zip(verdicts(SONAR, silos), verdicts(SONAR.association, silos), strict=True):
        np.testing.assert_array_equal(one.flagged, other.flagged)


def test_the_key_moves_every_word():
    silos, _ = planted(Semantic())
    one, other = (ResponseShift(bits=18, key=key).summarize(silos[0], []) for key in (0, 7))
    assert one["inputs"].sum() == other["inputs"].sum()
    assert (one["inputs"] != other["inputs"]).any()


def test_a_small_table_is_said_to_be_small():
    silos, _ = planted(Semantic())
    with pytest.warns(UserWarning, match="bits=8 is small for these rows"):
        verdicts(ResponseShift(bits=8), silos)


def test_a_translation_stays_and_its_server_is_told_what_would_not_be_found():
    shards = IID(clients=4).split(translated(1200), stream(0, "partition"))
    silos = [Silo(client, shard.samples) for client, shard in enumerate(shards)]
    with pytest.warns(UserWarning, match="answers are made of words that come with the inputs' words"):
        found = verdicts(Sonar(), silos)
    assert not any(verdict.flagged.any() for verdict in found)
