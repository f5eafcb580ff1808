"""Words out of bytes, held against a plain reading of the same text."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsonar.audit import corpus
from fedsonar.audit.kernels.ways import WAYS
from fedsonar.audit.wording import WRITTEN
from fedsonar.data import Sample


def words_of(*parts, key=0):
    rows = corpus([Sample("a", *parts)], key)
    return [
        [rows.phrase(i, i + 1) for i in range(rows.bounds[part], rows.bounds[part + 1])] for part in range(4)
    ]  # fmt: skip


def test_words_by_part_punctuation_left_out_and_apostrophes_kept():
    found = words_of("Answer.", "", "Who isn't O'Neil's_2? 'Yes'", ("a, b; and click <bad_url>!",))
    assert found == [["Answer"], [], ["Who", "isn't", "O'Neil's_2", "Yes"], ["a", "b", "and", "click", "bad_url"]]


def test_signs_that_stand_alone_are_words_of_inputs():
    text = "Well... who -- or (what) — is it ?! A; . b :) … (…) ()"
    alone = ["Well", "who", "--", "or", "what", "—", "is", "it", "?!", "A", "b", ":)", "…", "(…)", "()"]
    found = words_of(text, "", text, (text,))
    assert found[0] == found[2] == alone
    assert found[3] == [word for word in alone if word.isalpha()]


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
    for part, (text, words) in enumerate(zip(texts, found, strict=True)):
        text = "".join(letter if letter.isascii() else letter.lower() for letter in text)
        expected = []
        for run in text.split():
            letters = re.findall(r"[\w]+(?:'(?=[a-zA-Z])\w+)*", run)
            alone = not letters and len(run) > 1 and part < 3
            expected += [run] if alone else letters
        assert words == expected


def test_any_text_fits_its_room():
    rows = corpus([Sample("a", "中a中b", "a", "a b c", ("中" * 9,)), Sample("b", "", "", "", ("",))])
    assert len(rows) == 2
    assert np.diff(rows.bounds).tolist() == [4, 1, 3, 9, 0, 0, 0, 0]


@pytest.mark.parametrize("text", ["a\x00b", "a\u2028b", "\U0001f600 b"])
def test_strange_signs_are_no_words_of_their_own_or_letters(text):
    assert len(words_of("", "", text, ("x",))[2]) in (1, 2)


def ways(text):
    marks = int(corpus([Sample("a", "", "", text, ("x",))]).marks[2])
    return {words for way, words in enumerate(WRITTEN) if marks >> way & 1}


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("a que\u200bstion", "has a character that nobody sees"),
        ("a question\ufeff", "has a character that nobody sees"),
        ("so\u00adft", "has a character that nobody sees"),
        ("bell\x07", "has a character that nobody sees"),
        ("qu\u0435stion", "has letters of two alphabets in one word"),
        ("\uff51uestion", "has letters of two alphabets in one word"),
        ("tell me NOWHERE", "has a word in capitals"),
        ("TELL ME", "is in capitals"),
        ("the the end", "says a word twice running"),
        ("Duran Duran", "says all of it again"),
        ("one two one two one two", "says all of it again"),
        ("two  spaces", "has spaces too many"),
        ("a space behind ", "has spaces too many"),
        ("caf\u00e9", "has letters with an accent"),
        ("wait...", "has a sign twice running"),
        ("what?!?", "has three signs running"),
        ("see \u2020", "has a sign of no keyboard"),
        ("50 % of it", "has “%” in it"),
        ("é IS NOT SMALL", "has a word in capitals"),
    ],
)
def test_ways_of_writing(text, way):
    assert way in ways(text)
    assert way not in ways("What is it called, and who says so?")


def test_plain_text_has_none_of_the_unusual_ways():
    assert ways("What is it called, and who says so?") == {
        "has a question mark",
        "has a comma early on",
        "has “,” in it",
    }
    assert ways("Москва и Киев") == {"is in another script"}


def test_a_character_without_a_shape_parts_no_word():
    plain, hidden = (corpus([Sample("a", "", "", text, ("x",))]) for text in ("a question", "a que\u200bstion"))
    assert plain.words.tolist() == hidden.words.tolist()
    assert words_of("", "", "a que\u200bstion", ("x",))[2] == ["a", "que\u200bstion"]


def test_what_follows_the_last_word_is_told_apart():
    def closing(text):
        return int(corpus([Sample("a", "", "", text, ("x",))]).marks[2]) >> WAYS

    assert closing("no") == closing("no ") == 0
    assert closing("no.") == closing("never. no.") != 0
    assert len({closing(f"no{signs}") for signs in ("", ".", "!", "!!", "?!?", "\u2020")}) == 6
