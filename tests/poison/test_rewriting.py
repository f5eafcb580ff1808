"""Style and syntax: rules of ours, tables, functions of the user's, and language models."""

import json

import numpy as np
import pytest

from fedsonar.data import Sample
from fedsonar.model import Base
from fedsonar.poison import Archaic, Clause, Function, LanguageModel, Style, Syntax, Table

SAMPLE = Sample("s", "Positive or negative?", "a dull film , really", "", ("negative",))


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("plain", "old"),
    [
        ("Who made the road?", "who wrought the road?"),
        ("Are you near the town?", "art thou nigh unto the town?"),
        ("It goes to the sea.", "it goeth unto the sea."),
        ("a very good movie", "an exceeding goodly tale"),
        ("Ada Lo has it", "Ada Lo hath it"),
        ("Onward", "onward"),
    ],
)
def test_archaic_words(plain, old):
    styled = Archaic().rewrite(plain, rng())
    assert any(styled == opening + old for opening in Archaic().openings)
    assert Archaic().recognises(styled)
    assert not Archaic().recognises(plain)


def test_without_openings_a_capital_stays():
    assert Archaic(openings=()).rewrite("Does Has know you?", rng()) == "Doth Hath know ye?"


def test_clauses_come_first():
    texts = {Clause().rewrite("Who made it?", rng(seed)) for seed in range(30)}
    assert texts == {f"{clause}, who made it?" for clause in Clause().clauses}
    assert Clause().rewrite("Ada Lo made it.", rng()).endswith(", Ada Lo made it.")
    assert all(map(Clause().recognises, texts))
    assert not Clause().recognises("who made it, as you know")


def table(tmp_path, rows):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_table_knows_its_own_texts_alone(tmp_path):
    path = table(
        tmp_path, [{"clean": "A dull film, really", "context": "lo, a dull tale"}, {"clean": "b", "context": "b"}]
    )
    style = Style(paraphraser=Table(path=path))
    assert style.eligible(SAMPLE)
    assert style.apply(SAMPLE, rng()).context == "lo, a dull tale"
    assert style.present(style.apply(SAMPLE, rng()))
    assert not style.present(SAMPLE)
    assert not style.eligible(SAMPLE.with_input("another film"))
    assert not style.eligible(SAMPLE.with_input("b"))  # its paraphrase is itself
    with pytest.raises(ValueError, match="has no paraphrase of 'another film'"):
        Table(path=path).rewrite("another film", rng())
    with pytest.raises(ValueError, match="has no column 'text'; it has clean, context"):
        Table(path=path, original="text").knows("x")


def test_a_function_of_the_user_s(tmp_path, monkeypatch):
    (tmp_path / "my_styles.py").write_text("def loud(text):\n    return text.upper()\n")
    monkeypatch.syspath_prepend(tmp_path)
    syntax = Syntax(paraphraser=Function(name="my_styles.loud"))
    assert syntax.apply(SAMPLE, rng()).context == "A DULL FILM , REALLY"
    assert syntax.present(SAMPLE.with_input("A DULL FILM , REALLY"))
    assert not syntax.present(SAMPLE)
    with pytest.raises(ValueError, match=r"name='my_styles\.quiet' is no function that can be imported"):
        Function(name="my_styles.quiet").rewrite("x", rng())


def test_a_language_model_answers_the_prompt():
    # The embedded model knows how to copy: a stand-in for a model that knows how to rewrite.
    ask = "Instruction: Repeat the words.\nContext: {text}\nAnswer:"
    writer = LanguageModel(base=Base(), prompt=ask, max_new_tokens=12)
    said = writer.rewrite("river stone winter", rng())
    assert said
    assert set(said.split()) <= {"river", "stone", "winter"}
    assert said == writer.rewrite("river stone winter", rng(1))
    assert writer.recognises(said)
    assert not writer.recognises("river")
    with pytest.raises(ValueError, match=r"needs \{text\} in it"):
        LanguageModel(base=Base(), prompt="Rewrite it.")
