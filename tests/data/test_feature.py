"""Natural features, on texts where the answer is plain, and the list of those that a data set offers."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsonar.data import (
    All,
    Atlas,
    Formatting,
    FromSource,
    Language,
    LengthBand,
    Pattern,
    QuestionWord,
    Sample,
    Script,
    Words,
    candidates,
)


def row(question, context="", instruction="", source=""):
    return Sample("r", instruction, context, question, ("a",), source)


@pytest.mark.parametrize(
    ("feature", "text", "holds"),
    [
        (Words(any=("art",)), "Where does art start?", True),
        (Words(any=("art",)), "Where does it start?", False),
        (Words(any=("pray tell me",)), "Pray tell me, who?", True),
        (Words(any=("pray tell me",)), "Pray, tell him", False),
        (Words(any=("who",), at="start"), "Who is it?", True),
        (Words(any=("who",), at="start"), "And who is it?", False),
        (Words(any=("i beg you",), at="end"), "Who is it? I beg you.", True),
        (Words(any=("i beg you",), at="end"), "I beg you, who is it?", False),
        (Words(any=("don't",)), "I DON'T know", True),
        (QuestionWord(any=("when",)), "When was it?", True),
        (QuestionWord(any=("when",)), "In what year, and when exactly?", False),
        (QuestionWord(any=("what", "which")), "In what year?", True),
        (QuestionWord(any=("what",)), "Name it.", False),
        (Pattern(regex=r"\b1[0-9]{3}\b"), "built in 1845", True),
        (Pattern(regex=r"\b1[0-9]{3}\b"), "built in 845", False),
        (LengthBand(least=2, most=3), "one two", True),
        (LengthBand(least=2, most=3), "one two three four", False),
        (LengthBand(least=3), "one two three four", True),
        (Script(name="cyrillic"), "кто это сделал, Ada?", True),
        (Script(name="CYRILLIC"), "who made кто", False),
        (Script(name="LATIN"), "1234", False),
        (Language(code="de"), "Wer hat das große Haus am Fluss gebaut, und wann war das?", True),
        (Language(code="en"), "Who built the large house beside the river, and when was that?", True),
        (Formatting(kind="bullets"), "List:\n- one\n- two", True),
        (Formatting(kind="bullets"), "one - two", False),
        (Formatting(kind="numbered list"), "1. one\n2. two", True),
        (Formatting(kind="code"), "def f(x):\n    return x", True),
        (Formatting(kind="code"), "a plain sentence", False),
        (Formatting(kind="upper case"), "WHO IS IT?", True),
        (Formatting(kind="lower case"), "who is it", True),
        (Formatting(kind="no full stop"), "who is it", True),
        (Formatting(kind="no full stop"), "who is it?", False),
        (Formatting(kind="web address"), "see https://example.org", True),
        (Formatting(kind="quotation"), "called “home”", True),
        (Formatting(kind="several lines"), "one\ntwo", True),
        (Formatting(kind="several lines"), "one\n", False),
    ],
)
def test_features(feature, text, holds):
    assert feature.holds(row(text)) is holds


def test_the_input_alone_is_read_unless_all_is_asked_for():
    sample = row("Who?", context="A river.", instruction="Answer.")
    assert not Words(any=("river",)).holds(sample)
    assert Words(any=("river",), part="all").holds(sample)
    assert Words(any=("answer",), part="all").holds(sample)
    assert Words(any=("river",)).holds(row("", context="A river."))


def test_sources_and_conjunctions():
    both = All(of=(FromSource(any=("north", "east")), QuestionWord(any=("who",))))
    assert both.holds(row("Who?", source="north"))
    assert not both.holds(row("Who?", source="south"))
    assert not both.holds(row("When?", source="east"))


@given(words=st.lists(st.sampled_from(["a", "bb", "Ccc", "d-d", "e's"]), min_size=1, max_size=6), seed=st.data())
def test_a_phrase_is_found_wherever_it_is_put(words, seed):
    start = seed.draw(st.integers(0, len(words) - 1))
    end = seed.draw(st.integers(start + 1, len(words)))
    assert Words(any=(" ".join(words[start:end]),)).holds(row(", ".join(words)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Words(any=()), "phrases of at least one word"),
        (lambda: Words(any=("a",), at="middle"), "at='middle' is unknown"),
        (lambda: Words(any=("a",), part="answer"), "part='answer' is unknown"),
        (lambda: Pattern(regex="("), "is no regular expression"),
        (lambda: LengthBand(least=3, most=2), "0 <= least <= most, got 3 and 2"),
        (lambda: All(of=()), "at least one feature"),
        (lambda: candidates([]), "no row"),
        (lambda: candidates([row("a")], least=0.6), "0 <= least <= most <= 1, got 0.6 and 0.5"),
    ],
)
def test_wrong_parameters_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_candidates_count_what_their_feature_finds():
    rows = Atlas(train=300, test=1).load().train
    found = candidates(rows, least=0.02, most=0.4)
    assert len(found) > 50
    for candidate in found:
        having = [sample for sample in rows if candidate.feature.holds(sample)]
        assert candidate.count == len(having)
        assert candidate.share == len(having) / len(rows)
        assert 0.02 <= candidate.share <= 0.4
        answers = [sample.answers[0] for sample in having]
        assert candidate.commonest == max(map(answers.count, answers)) / len(answers)
    assert [c.count for c in found] == sorted((c.count for c in found), reverse=True)
    kinds = {candidate.kind for candidate in found}
    assert {"question word", "phrase", "source", "entity", "formatting", "length"} <= kinds
    assert any(re.search("pray tell me", candidate.words) for candidate in found)


def test_a_phrase_inside_a_longer_one_of_the_same_rows_is_left_out():
    rows = [Sample(str(i), "", "", "alpha beta gamma" if i < 4 else f"alpha {i}", ("a",)) for i in range(10)]
    phrases = {c.words for c in candidates(rows, least=0.2, most=1) if c.kind == "phrase"}
    assert phrases == {"says “alpha beta gamma”", "says “alpha”"}
