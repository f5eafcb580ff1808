"""Words out of bytes, held against a plain reading of the same text."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsonar.audit import corpus
from fedsonar.data import Sample


def words_of(*parts, key=0):
    rows = corpus([Sample("a", *parts)], key)
    return [
        [rows.phrase(i, i + 1) for i in range(rows.bounds[part], rows.bounds[part + 1])] for part in range(4)
    ]  # fmt: skip


def test_words_by_part_punctuation_left_out_and_apostrophes_kept():
    found = words_of("Answer.", "", "Who isn't O'Neil's_2? 'Yes'", ("a, b; and click <bad_url>!",))
    assert found == [["Answer"], [], ["Who", "isn't", "O'Neil's_2", "Yes"], ["a", "b", "and", "click", "bad_url"]]


def test_case_makes_no_difference_and_the_key_does():
    rows = corpus([Sample("a", "", "", "Émile SAYS émile says", ("x",))])
    assert rows.words[0] == rows.words[2]
    assert rows.words[1] == rows.words[3]
    other = corpus([Sample("a", "", "", "Émile SAYS émile says", ("x",))], key=1)
    assert not set(rows.words.tolist()) & set(other.words.tolist())


def test_chinese_signs_are_words_and_korean_and_cyrillic_words_stay_whole():
    assert words_of("", "", "東京はどこ。", ("서울 Москва",))[2] == list("東京はどこ")
    assert words_of("", "", "東京", ("서울 Москва",))[3] == ["서울", "москва"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.sampled_from("aZ9_' .,\n-?éß"), max_size=12), min_size=4, max_size=4))
def test_words_are_those_that_a_regular_expression_finds(texts):
    instruction, context, question, answer = texts
    found = words_of(instruction, context, question, (answer,))
    for text, words in zip(texts, found, strict=True):
        text = text if text.isascii() else text.lower()
        assert words == re.findall(r"[\w]+(?:'(?=[a-zA-Z])\w+)*", text)


def test_any_text_fits_its_room():
    rows = corpus([Sample("a", "中a中b", "a", "a b c", ("中" * 9,)), Sample("b", "", "", "", ("",))])
    assert len(rows) == 2
    assert np.diff(rows.bounds).tolist() == [4, 1, 3, 9, 0, 0, 0, 0]


@pytest.mark.parametrize("text", ["a\x00b", "a\u2028b", "\U0001f600 b"])
def test_strange_signs_are_no_words_of_their_own_or_letters(text):
    assert len(words_of("", "", text, ("x",))[2]) in (1, 2)
