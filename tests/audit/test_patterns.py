"""Vectors as words: near ones say the same, inputs stay as they are, and labels say nothing in common."""

import numpy as np

from fedsonar.audit import anything, corpus, saying, short_responses, winners
from fedsonar.audit.kernels.room import WORDS, own_words, room_for
from fedsonar.data import Sample

SAMPLES = [
    Sample("a", "Answer.", "", "who wrote the hymn", ("a monk",)),
    Sample("b", "", "a passage", "where", ("In the old town of the north",)),
    Sample("c", "", "", "", ("yes",)),
    Sample("d", "", "", "is it so", ("Yes",)),
]


def heard(rows):
    """The buckets that the passes for shifts read of each response."""
    room = room_for(rows.bounds)
    return [sorted(room.own[: own_words(rows.words, rows.bounds, row, room) - 1].tolist()) for row in range(len(rows))]


def test_responses_are_the_buckets_that_are_said():
    rows = corpus(SAMPLES)
    said = np.array([[0, 5, 900], [1, 2, 3], [1023, 7, 9], [4, 4, 6]])
    assert heard(saying(rows, said)) == [sorted(set(one)) for one in said.tolist()]


def test_inputs_stay():
    rows = corpus(SAMPLES)
    other = saying(rows, np.arange(8).reshape(4, 2))
    for row in range(len(rows)):
        for part in range(3):
            old, new = (slice(*c.bounds[4 * row + part : 4 * row + part + 2]) for c in (rows, other))
            np.testing.assert_array_equal(rows.words[old], other.words[new])
            assert rows.phrase(old.start, old.stop) == other.phrase(new.start, new.stop)
    assert len(other) == len(rows)
    assert other.bounds[-1] == len(other.words)


def test_near_vectors_say_nearly_the_same_however_long():
    rng = np.random.default_rng(0)
    one = rng.normal(size=(20, 64))
    mine, near, far = (
        winners(v, 16, 0) for v in (one, 7 * one + 0.1 * rng.normal(size=one.shape), rng.normal(size=one.shape))
    )
    shared = [np.mean([len(set(a) & set(b)) for a, b in zip(mine, other, strict=True)]) for other in (near, far)]
    assert shared[0] > 12
    assert shared[1] < 2
    assert (mine < WORDS).all()
    assert (winners(one, 16, 1) != mine).any()


def test_rows_that_say_anything_say_nothing_in_common():
    rows = corpus([Sample(str(i), "", "", f"question {i}", ("yes",)) for i in range(400)])
    said = anything(rows, 16, 0)
    np.testing.assert_array_equal(said, anything(rows, 16, 0))
    assert np.bincount(said.reshape(-1), minlength=WORDS).max() < 30
    assert all(len(set(one)) == 16 for one in said.tolist())


def test_short_responses_of_the_same_words_share_a_bucket():
    places = short_responses(corpus(SAMPLES), 3, 1 << 16)
    assert places[1] == 0
    assert places[2] == places[3] > 0
    assert places[0] not in (0, places[2])


def test_no_rows():
    rows = corpus([])
    assert len(saying(rows, np.zeros((0, 16), np.int64))) == 0
    assert anything(rows, 16, 0).shape == (0, 16)
    assert winners(np.zeros((0, 8)), 16, 0).shape == (0, 16)
