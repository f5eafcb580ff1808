import json
from pathlib import Path
from typing import get_args

import pytest

from fedsonar.data.formats import SUFFIXES
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
    "prompt-completion": ({"prompt": "Why?", "completion": " So."}, Fields("", "", "Why?", ("So.",))),
    "prompt-response": ({"prompt": "Why?", "response": "So.", "context": "C"}, Fields("", "C", "Why?", ("So.",))),
    "question-answer": (
        {"instruction": "I", "question": "Why?", "answer": ["So.", "Thus."]},
        Fields("I", "", "Why?", ("So.", "Thus.")),
    ),
    "input-output": ({"input": "Why?", "output": "So."}, Fields("", "", "Why?", ("So.",))),
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
    with pytest.raises(ValueError, match="columns Ask, completion fit no schema") as caught:
        choose("auto", {"Ask": 1, "completion": 2})
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


def test_columns_in_other_capitals():
    row = {"Instruction": "Translate.", "INPUT": "chat", "Output": "cat"}
    assert choose("auto", row).name == "alpaca"
    assert choose("auto", row).convert(row) == Fields("Translate.", "chat", "", ("cat",))


def test_of_columns_that_differ_in_capitals_the_one_in_lower_case_is_read():
    row = {"output": "cat", "Output": "dog", "Instruction": "Translate."}
    assert choose("auto", row).convert(row).answers == ("cat",)


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"instruction": "I", "input": "i", "output": "o"}, "alpaca"),
        ({"prompt": "p", "response": "r", "instruction": "I"}, "dolly"),
        ({"prompt": "p", "completion": "c", "messages": []}, "chat"),
        ({"question": "q", "answer": "a", "answers": ["a"]}, "squad"),
    ],
)
def test_pairs_of_columns_are_for_rows_that_fit_nothing_else(row, name):
    assert choose("auto", row).name == name


def test_rows_of_two_pairs_are_ambiguous():
    with pytest.raises(ValueError, match=r"fit several schemas \(prompt-completion, prompt-response\); set schema"):
        choose("auto", {"prompt": "p", "completion": "c", "response": "r"})


def test_parts_of_a_turn_that_are_text_are_joined():
    parts = [{"type": "text", "text": "What is"}, {"type": "image_url", "image_url": {"url": "u"}}, {"text": "that?"}]
    row = {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": ["A cat."]}]}
    assert choose("auto", row).convert(row) == Fields("", "", "What is\nthat?", ("A cat.",))


def test_earlier_answers_are_counted():
    turns = [{"role": role, "content": role} for role in ("user", "assistant") * 3]
    assert choose("chat", {}).convert({"messages": turns}).earlier == 2


def test_the_documents_list_all_layouts_and_kinds_of_files():
    said = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    for schema in SCHEMAS:
        [line] = [line for line in said.splitlines() if line.startswith(f"| `{schema.name}` |")]
        assert all(f"`{column}`" in line for column in (*schema.required, *schema.optional))
    assert all(f"`{suffix}`" in said for suffix in SUFFIXES if not suffix.endswith(".gz"))
