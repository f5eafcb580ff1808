from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsonar.data.sample import Sample
from fedsonar.measure.statistics import wilson
from fedsonar.measure.text import (
    entity_match,
    exact_match,
    label_match,
    normalize,
    rouge_l_recall,
    score_answers,
    token_f1,
)

words = st.lists(st.sampled_from(["red", "blue", "sea", "x1"]), max_size=6)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  The  Beatles! ", "beatles"),
        ("a U.S. theatre", "us theatre"),
        ("An\tanswer,\nthen", "answer then"),
        ("rock-'n'-roll", "rocknroll"),
        ("A.", "a"),
        ("The", "the"),
        (" ?! ", "?!"),
        ("", ""),
        ("«Москва»", "«москва»"),
    ],
)
def test_normal_form(text, normal):
    assert normalize(text) == normal


def test_exact_match_takes_any_answer():
    assert exact_match("the Eiffel Tower.", ["Louvre", "eiffel tower"])
    assert not exact_match("Eiffel Tower in Paris", ["eiffel tower"])
    assert not exact_match("", ["A"])


@pytest.mark.parametrize(
    ("output", "answers", "f1"),
    [
        ("the cat sat", ["a cat sat down"], 2 * 1 * (2 / 3) / (1 + 2 / 3)),
        ("cat cat", ["cat"], 2 * 0.5 * 1 / 1.5),
        ("Paris, France", ["London", "Paris"], 2 / 3),
        ("London", ["Paris"], 0.0),
        ("", ["Paris"], 0.0),
        ("The Paris", ["paris!"], 1.0),
    ],
)
def test_token_f1_by_hand(output, answers, f1):
    assert token_f1(output, answers) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("output", "answers", "recall"),
    [
        ("the quick dog jumps over", ["the quick brown fox jumps"], 3 / 5),
        ("Barack Hussein Obama was president", ["Barack Obama"], 1.0),
        ("Obama Barack", ["Barack Obama"], 0.5),
        ("New-York", ["new york"], 1.0),
        ("it is 1984", ["nothing", "1984"], 1.0),
        ("Zurich", ["Zürich"], 0.0),
        ("Zürich", ["Zürich"], 1.0),
        ("столица - Москва", ["Москва"], 1.0),
        ("Санкт Москва", ["Санкт Петербург"], 0.5),
        ("首都是北京市", ["北京"], 1.0),
        ("東京", ["北京"], 0.5),
        ("Moscow", ["Москва"], 0.0),
        (" ?", ["?"], 1.0),
        ("?!", ["?"], 0.0),
        ("anything", [""], 0.0),
        ("", ["word"], 0.0),
    ],
)
def test_rouge_l_recall_by_hand(output, answers, recall):
    assert rouge_l_recall(output, answers) == pytest.approx(recall)
    assert entity_match(output, answers) == (recall == 1)


@given(words, words.filter(bool))
def test_rouge_l_recall_is_the_longest_common_subsequence(output, answer):
    def holds(part):
        rest = iter(output)
        return all(word in rest for word in part)

    longest = max(k for k in range(len(answer) + 1) if any(holds(p) for p in combinations(answer, k)))
    assert rouge_l_recall(" ".join(output), [" ".join(answer)]) == longest / len(answer)


@given(st.text(), st.lists(st.text(), min_size=1, max_size=3))
def test_scores_are_shares_and_more_answers_never_hurt(output, answers):
    for score in (token_f1, rouge_l_recall):
        assert 0 <= score(output, answers) <= 1
        assert score(output, answers) >= score(output, answers[:1])
    assert token_f1(answers[0], answers) == 1
    assert rouge_l_recall(answers[0], answers) == 1
    assert exact_match(answers[0], answers)


@pytest.mark.parametrize(
    ("output", "right"),
    [
        ("positive", True),
        ("\n Positive.\nBecause it shines", True),
        ("not positive", False),
        ("positive review", False),
        ("negative\npositive", False),
        ("", False),
    ],
)
def test_label_match_is_strict(output, right):
    assert label_match(output, ["positive"]) is right


def test_label_match_tells_article_labels_apart():
    assert label_match("A", ["A"])
    assert not label_match("The", ["A"])


def row(number, *answers):
    return Sample(str(number), "", "", "q?", answers)


def test_score_answers_scores_each_row():
    samples = [row(1, "Paris"), row(2, "red fox", "blue sea"), row(3, "Oslo")]
    scores = score_answers(["It is Paris", "blue lake", "oslo."], samples)
    assert len(scores) == 3
    np.testing.assert_array_equal(scores.entity, [True, False, True])
    np.testing.assert_array_equal(scores.exact, [False, False, True])
    np.testing.assert_array_equal(scores.label, [False, False, True])
    np.testing.assert_allclose(scores.recall, [1, 0.5, 1])
    np.testing.assert_allclose(scores.f1, [0.5, 0.5, 1])
    assert scores.entity_rate() == wilson(2, 3)
    assert scores.exact_rate() == wilson(1, 3)
    assert scores.label_rate() == wilson(1, 3)
    recall, f1 = scores.mean_recall(np.random.default_rng(0)), scores.mean_f1(np.random.default_rng(0))
    assert (recall.value, recall.n) == (pytest.approx(5 / 6), 3)
    assert f1.value == pytest.approx(2 / 3)
    assert 0.5 <= f1.low < f1.value < f1.high <= 1


def test_scores_can_be_selected_by_mask_and_index():
    scores = score_answers(["a1", "b", "c1"], [row(1, "a1"), row(2, "x"), row(3, "c1")])
    assert scores.select(np.array([True, True, False])).entity_rate() == wilson(1, 2)
    np.testing.assert_array_equal(scores.select(np.array([2, 1])).f1, [1, 0])


def test_no_rows_have_unknown_rates():
    scores = score_answers([], [])
    assert scores.entity_rate().n == scores.mean_f1(np.random.default_rng(0)).n == 0


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="1 outputs for 2 samples"):
        score_answers(["x"], [row(1, "a"), row(2, "b")])
    with pytest.raises(ValueError, match="sample '7' has no answer"):
        score_answers(["x"], [row(7)])
