"""A conversation as one instruction row: the last exchange is asked, what came before is its context."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "ipython": "tool",
}


class Turn(NamedTuple):
    """What one side said at a time."""

    role: str
    text: str


class Exchange(NamedTuple):
    """A conversation folded into the fields of a row; any of them may be empty.

    Args:
        instruction: What the system said.
        context: What was said besides, a line each turn.
        question: What the user said last before the response.
        response: The last answer.
        earlier: How many answers there are before it, which are context alone.
    """

    instruction: str
    context: str
    question: str
    response: str
    earlier: int = 0


def fold(turns: Sequence[Turn]) -> Exchange:
    """The last exchange of a conversation, with all before it as context.

    System turns become the instruction. The response is the last assistant turn and the question the last user turn
    before it; other turns up to there go into the context, a line ``User: ...``, ``Assistant: ...`` or ``Tool: ...``
    each. Consecutive turns of one side are one turn. What is said after the last response has no answer and is left
    out.

    Raises:
        ValueError: If a role is unknown.
    """
    for turn in turns:
        if turn.role.lower() not in _ROLES:
            raise ValueError(
                f"role {turn.role!r} is not one of {', '.join(_ROLES)}; remove the conversations that have it"
            )
    told = [Turn(_ROLES[turn.role.lower()], turn.text) for turn in turns]
    instruction = _joined(turn for turn in told if turn.role == "system")
    spoken = [
        Turn(role, _joined(group))
        for role, group in groupby((turn for turn in told if turn.role != "system"), key=lambda turn: turn.role)
    ]
    while spoken and spoken[-1].role != "assistant":
        spoken.pop()
    response = spoken.pop().text if spoken else ""
    asked = max((place for place, turn in enumerate(spoken) if turn.role == "user"), default=None)
    question = "" if asked is None else spoken.pop(asked).text
    context = "\n".join(f"{turn.role.capitalize()}: {turn.text}" for turn in spoken if turn.text)
    earlier = sum(turn.role == "assistant" and bool(turn.text) for turn in spoken)
    return Exchange(instruction, context, question, response, earlier)


def _joined(turns: Iterable[Turn]) -> str:
    return "\n".join(turn.text for turn in turns if turn.text)
