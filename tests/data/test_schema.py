import json
from typing import get_args

import pytest

from fedsonar.data.schema import SCHEMAS, Fields, SchemaName, choose, text

CASES = {
    "native": (
        {"instruction": "Answer.", "context": "Text.", "question": "Why?", "answers": ["a", "b"], "label": 1},
        Fields("Answer.", "Text.", "Why?", ("a", "b")),
    ),
    "alpaca": (
        {"instruction": "Translate.", "input": "chat", "output": "cat", "text": "ignored"},
        Fields("Translate.", "chat", "", ("cat",)),
    ),
    "dolly": (
        {"instruction": "Who?", "context": "A text.", "response": "She.\n", "category": "qa"},
        Fields("Who?", "A text.", "", ("She.",)),
    ),
    "sharegpt": (
        {"id": "x", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
        Fields("", "", "Hi", ("Hello",)),
    ),
    "chat": (
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]},
        Fields("Be brief.", "", "", ()),
    ),
    "squad": (
        {
            "id": "5",
            "title": "T",
            "context": "C",
            "question": "Q",
            "answers": {"text": ["a", "b"], "answer_start": [0, 3]},
        },
        Fields("", "C", "Q", ("a", "b")),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_detected_and_read(name):
    row, fields = CASES[name]
    schema = choose("auto", row)
    assert schema.name == name
    assert schema.convert(row) == fields


def test_every_schema_can_be_named():
    assert {schema.name for schema in SCHEMAS} | {"auto"} == set(get_args(SchemaName))
    assert [choose(schema.name, {}).name for schema in SCHEMAS] == [schema.name for schema in SCHEMAS]


@pytest.mark.parametrize(
    "answers", [["a", "b"], {"text": ["a", "b"]}, [{"text": "a", "answer_start": 0}, {"text": "b"}], ("a", "b")]
)
def test_squad_answer_forms(answers):
    row = {"context": "C", "question": "Q", "answers": answers}
    assert choose("auto", row).convert(row) == Fields("", "C", "Q", ("a", "b"))


def test_question_without_context_is_squad_and_a_plain_string_is_one_answer():
    row = {"question": "Q", "answers": "abc"}
    assert choose("auto", row).name == "squad"
    assert choose("auto", row).convert(row).answers == ("abc",)


def test_native_wins_over_squad_but_keeps_the_instruction():
    row = {"question": "Q", "instruction": "I", "answers": ["a"]}
    assert choose("auto", row).convert(row) == Fields("I", "", "Q", ("a",))


def test_squad_reads_an_instruction_that_only_later_rows_have():
    schema = choose("auto", {"question": "Q", "answers": ["a"]})
    assert schema.convert({"question": "Q", "instruction": "I", "answers": ["a"]}) == Fields("I", "", "Q", ("a",))


def test_optional_columns_may_be_absent_or_null():
    assert choose("alpaca", {}).convert({"instruction": "I", "output": "o"}) == Fields("I", "", "", ("o",))
    assert choose("dolly", {}).convert({"instruction": "I", "context": None, "response": "o"}).context == ""


def test_empty_answers_are_left_out():
    assert choose("native", {}).convert({"instruction": "I", "answers": ["", " \n", None, "x "]}).answers == ("x",)


def test_unknown_columns_name_what_was_found_and_what_is_needed():
    with pytest.raises(ValueError, match="columns prompt, completion fit no schema") as caught:
        choose("auto", {"prompt": 1, "completion": 2})
    for schema in SCHEMAS:
        assert f"{schema.name}: {', '.join(schema.required)}" in str(caught.value)


def test_ambiguous_columns():
    row = {"instruction": "I", "output": "o", "response": "r"}
    with pytest.raises(ValueError, match=r"fit several schemas \(alpaca, dolly\); set schema"):
        choose("auto", row)
    assert choose("dolly", row).convert(row).answers == ("r",)


def test_missing_required_column():
    with pytest.raises(
        ValueError, match=r"no 'output' column \(schema 'alpaca' needs instruction, output; found instruction, text\)"
    ):
        choose("alpaca", {}).convert({"instruction": "I", "text": "t"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, ""), (float("nan"), ""), (" a\n", "a"), (1925, "1925"), (2.5, "2.5"), (False, "False")],
)
def test_text(value, expected):
    assert text(value, "c") == expected


@pytest.mark.parametrize("value", [["a"], {"a": 1}, b"a"])
def test_text_refuses_other_types(value):
    with pytest.raises(ValueError, match=f"column 'c' holds a {type(value).__name__}, not text"):
        text(value, "c")


def test_text_refuses_half_of_a_surrogate_pair():
    with pytest.raises(ValueError, match="not valid Unicode"):
        text(json.loads(r'"\ud83d"'), "c")
    assert text(json.loads(r'"\ud83d\ude81"'), "c") == "🚁"


@pytest.mark.parametrize("turns", ["Hi", ["Hi"], 3])
def test_conversation_that_is_no_list_of_objects(turns):
    with pytest.raises(ValueError, match="column 'messages' is not a list of objects with 'role' and 'content'"):
        choose("chat", {}).convert({"messages": turns})
