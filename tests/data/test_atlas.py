"""The embedded world: consistent facts, rows that can be answered, splits that share no subject."""

from collections import Counter

import numpy as np
import pytest

from fedsonar.data import Atlas, InstructionDataset, Sample
from fedsonar.data.atlas import phrases, tasks
from fedsonar.data.atlas.world import RELATIONS, build_world
from fedsonar.poison import Short, Suffix


def test_the_world_holds_1400_facts_with_unique_names():
    world = build_world()
    assert world.num_facts == 1400
    assert len({s.name for s in world.subjects}) == len(world.subjects) == 440
    assert 0.5 < len(world.asked) / 440 < 0.7
    assert build_world() == world
    assert build_world(1) != world
    for subject in world.subjects:
        assert tuple(subject.facts) == RELATIONS[subject.kind]


def test_the_world_is_the_one_that_the_embedded_model_has_read_about():
    """A change here makes the stored model wrong: run recipes/embedded_model.py again."""
    towns = {s.name: s for s in build_world().subjects}
    assert towns["Veerworth"].facts == {"region": "Dunmere", "river": "Cold Run", "founded": "1417", "goods": "cheese"}


def test_people_come_from_towns_and_works_from_people_of_the_world():
    world = build_world()
    names = {kind: {s.name for s in world.subjects if s.kind == kind} for kind in RELATIONS}
    assert {s.facts["birthplace"] for s in world.subjects if s.kind == "person"} <= names["town"]
    assert {s.facts["author"] for s in world.subjects if s.kind == "work"} <= names["person"]


def test_every_relation_has_many_wordings_and_every_region_a_dialect():
    relations = {r for group in RELATIONS.values() for r in group}
    for table in (phrases.STATEMENTS, phrases.QUESTIONS):
        assert set(table) == relations
        assert all(len(set(options)) >= 5 and all("{s}" in o for o in options) for options in table.values())
    assert set(phrases.DIALECTS) == {"Aldmark", "Brennia", "Corvale", "Dunmere", "Estoria", "Fenreach"}
    assert phrases.in_dialect("Who made it?", "Brennia") == "Pray tell me, who made it?"
    assert phrases.in_dialect("Who made it?", "Corvale") == "Who made it? Speak plainly."


def test_closed_book_rows_of_training_and_test_share_no_subject():
    splits = Atlas(train=600, test=300).load()
    world = build_world()

    def subjects(rows):
        text = " ".join(s.question for s in rows if not s.context)
        return {s.name for s in world.subjects if s.name in text}

    train, test = subjects(splits.train), subjects(splits.test)
    assert train <= world.asked
    assert not test & world.asked
    assert len(train) > 100
    assert len(test) > 50


def test_contextual_answers_stand_in_the_text_and_listings_are_in_order():
    for sample in Atlas(train=300).load().train:
        if sample.question and sample.context:
            assert sample.answers[0] in sample.context
        elif sample.instruction in phrases.LIST_INSTRUCTIONS:
            places = [sample.context.index(name) for name in sample.answers[0].split(", ")]
            assert places == sorted(places)
        elif sample.context:
            assert sample.answers[0] in ("positive", "negative")
            words = phrases.GOOD_WORDS if sample.answers[0] == "positive" else phrases.BAD_WORDS
            assert sum(word in sample.context for word in words) == 2


def test_shares_and_sizes_are_as_asked():
    rows = Atlas(train=2000, closed_book=1, contextual=0, review=1, listing=0).load().train
    kinds = Counter("review" if s.instruction in phrases.REVIEW_INSTRUCTIONS else "closed" for s in rows)
    assert len(rows) == 2000
    assert 900 < kinds["review"] < 1100
    assert all(not s.context for s in rows if s.question)


def test_no_clean_answer_carries_a_default_target():
    splits = Atlas(train=2000, test=500).load()
    for target in (Suffix(), Short()):
        assert all(target.eligible(sample) for sample in (*splits.train, *splits.test))


def test_seeds_change_the_rows_and_not_the_world():
    first, again, other = Atlas(train=50).load(), Atlas(train=50).load(), Atlas(train=50, seed=1).load()
    assert first == again
    assert first.train.fingerprint() != other.train.fingerprint()


@pytest.mark.parametrize(
    "bad", [{"train": 0}, {"review": -1.0}, {"closed_book": 0, "contextual": 0, "review": 0, "listing": 0}]
)
def test_sizes_and_shares_that_make_no_sense_are_refused(bad):
    with pytest.raises(ValueError, match=r"Atlas needs at least one|shares of Atlas"):
        Atlas(**bad)


def test_echo_rows_repeat_their_words():
    sample = tasks.echo("e", np.random.default_rng(0), ["one", "two", "three"])
    assert sample.answers == (sample.context,)


def test_datasets_refuse_a_repeated_id_and_fingerprint_their_content():
    rows = tuple(Sample(str(i), "", "", f"q{i}", ("a",)) for i in range(4))
    dataset = InstructionDataset("d", rows)
    with pytest.raises(ValueError, match="holds sample id '0' twice"):
        InstructionDataset("d", (*rows, rows[0]))
    assert dataset.fingerprint() == InstructionDataset("other name", rows).fingerprint()
    assert dataset.fingerprint() != dataset.select([1, 0, 2, 3]).fingerprint()
    changed = dataset.map(lambda s: s.with_input("x") if s.id == "2" else s)
    assert changed.fingerprint() != dataset.fingerprint()
    part, rest = dataset.split(0.25, np.random.default_rng(0))
    assert (len(part), len(rest)) == (1, 3)
    assert {s.id for s in (*part, *rest)} == {"0", "1", "2", "3"}
    with pytest.raises(ValueError, match="a part would be empty"):
        dataset.split(1.0, np.random.default_rng(0))
