import pytest

from fedsonar.data.conversation import Exchange, Turn, fold


def spoken(*turns):
    return [Turn(*turn.split("=")) for turn in turns]


def test_single_exchange():
    assert fold(spoken("user=Hi", "assistant=Hello")) == Exchange("", "", "Hi", "Hello")


def test_earlier_turns_become_context():
    turns = spoken("system=Be kind.", "human=A?", "gpt=B.", "human=C?", "gpt=D.", "human=thanks")
    assert fold(turns) == Exchange("Be kind.", "User: A?\nAssistant: B.", "C?", "D.", earlier=1)


def test_consecutive_turns_of_one_side_are_one():
    turns = spoken("user=A", "user=B", "assistant=C", "assistant=D")
    assert fold(turns) == Exchange("", "", "A\nB", "C\nD")


def test_system_turn_in_the_middle_does_not_part_a_side():
    assert fold(spoken("user=A", "system=S", "user=B", "Assistant=C")) == Exchange("S", "", "A\nB", "C")


def test_a_greeting_is_context():
    assert fold(spoken("assistant=Welcome", "user=A", "assistant=B")) == Exchange(
        "", "Assistant: Welcome", "A", "B", earlier=1
    )


@pytest.mark.parametrize("turns", [(), ("user=A",), ("system=S",)])
def test_no_response(turns):
    assert fold(spoken(*turns)).response == ""


def test_an_empty_last_response_stays_empty():
    assert fold(spoken("user=A", "assistant=B", "user=C", "assistant=")).response == ""


def test_unknown_role():
    with pytest.raises(ValueError, match=r"role 'critic' is not one of system, .*; remove the conversations"):
        fold(spoken("user=A", "critic=B"))


@pytest.mark.parametrize("role", ["tool", "function", "observation", "ipython"])
def test_what_a_tool_says_is_context(role):
    turns = spoken("user=A", "assistant=call", f"{role}=7", "assistant=It is 7.", f"{role}=8")
    assert fold(turns) == Exchange("", "Assistant: call\nTool: 7", "A", "It is 7.", earlier=1)


def test_a_call_without_words_is_no_earlier_answer():
    turns = spoken("user=A", "assistant=", "tool=7", "assistant=It is 7.")
    assert fold(turns) == Exchange("", "Tool: 7", "A", "It is 7.")
