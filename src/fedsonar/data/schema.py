"""From a raw row, in one of the layouts instruction data are published in, to the fields of a sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from fedsonar.data.conversation import Turn, fold
from fedsonar.errors import SettingError

SchemaName = Literal[
    "auto", "native", "alpaca", "dolly", "sharegpt", "chat", "squad",
    "prompt-completion", "prompt-response", "question-answer", "input-output",
]  # fmt: skip


class Fields(NamedTuple):
    """The texts of a sample, stripped of surrounding white space; `answers` holds non-empty ones only.

    Args:
        instruction: The task.
        context: What it is about.
        question: What is asked.
        answers: The accepted answers.
        earlier: Of a conversation, how many answers come before: they are context alone.
    """

    instruction: str
    context: str
    question: str
    answers: tuple[str, ...]
    earlier: int = 0


@dataclass(frozen=True)
class Schema:
    """One published layout of rows; columns may be written in any case.

    Args:
        name: What ``schema`` in a configuration says.
        required: Columns without which the layout cannot be read; they also give it away.
        optional: Columns that are read when present.
        read: The fields of a row that has the required columns.
    """

    name: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    read: Callable[[Mapping[str, object]], Fields]

    def convert(self, row: Mapping[str, object]) -> Fields:
        """The fields of `row`.

        Raises:
            ValueError: If a required column is missing, or a value cannot be read as text.
        """
        columns = _lower(row)
        missing = [key for key in self.required if key not in columns]
        if missing:
            raise ValueError(
                f"no {missing[0]!r} column (schema {self.name!r} needs {', '.join(self.required)}; "
                f"found {', '.join(row) or 'none'})"
            )
        return self.read(columns)


def _lower(row: Mapping[str, object]) -> Mapping[str, object]:
    """A row whose columns can be found by their names in lower case; a column that has just that name goes first."""
    return row if "".join(row).islower() else {**{key.lower(): value for key, value in row.items()}, **row}


def text(value: object, column: str) -> str:
    """`value` as stripped text; a null, or the NaN some tables write for it, is empty, and a number is written out.

    Raises:
        ValueError: If `value` is a list, an object or bytes, or holds half of a surrogate pair.
    """
    if isinstance(value, str):
        result = value.strip()
    elif value is None or value != value:
        return ""
    elif isinstance(value, (int, float)):
        result = str(value)
    else:
        raise ValueError(f"column {column!r} holds a {type(value).__name__}, not text")
    # JSON can spell half of a surrogate pair (\ud83d), which no tokenizer and no file can take later on.
    if not result.isascii() and any("\ud800" <= character <= "\udfff" for character in result):
        raise ValueError(f"column {column!r} is not valid Unicode (half of a surrogate pair)")
    return result


def _filled(values: Iterable[object], column: str) -> tuple[str, ...]:
    return tuple([answer for value in values if (answer := text(value, column))])


def _answers(value: object, column: str) -> tuple[str, ...]:
    return _filled(value if isinstance(value, (list, tuple)) else [value], column)


def _native(row: Mapping[str, object]) -> Fields:
    return Fields(
        text(row.get("instruction"), "instruction"),
        text(row.get("context"), "context"),
        text(row.get("question"), "question"),
        _answers(row["answers"], "answers"),
    )


def _squad(row: Mapping[str, object]) -> Fields:
    value = row["answers"]
    if isinstance(value, Mapping):
        value = value.get("text")
    elif isinstance(value, (list, tuple)):
        value = [item.get("text") if isinstance(item, Mapping) else item for item in value]
    return _native({**row, "answers": value})


def _single_response(context: str, response: str) -> Callable[[Mapping[str, object]], Fields]:
    def read(row: Mapping[str, object]) -> Fields:
        instruction, passage = text(row["instruction"], "instruction"), text(row.get(context), context)
        return Fields(instruction, passage, "", _filled([row[response]], response))

    return read


def _pair(question: str, answer: str) -> Callable[[Mapping[str, object]], Fields]:
    def read(row: Mapping[str, object]) -> Fields:
        instruction, context = text(row.get("instruction"), "instruction"), text(row.get("context"), "context")
        return Fields(instruction, context, text(row[question], question), _answers(row[answer], answer))

    return read


def _content(value: object, column: str) -> str:
    """What a turn says: a text, or a list of parts, of which those that are text count."""
    if not isinstance(value, (list, tuple)):
        return text(value, column)
    parts = [part.get("text") if isinstance(part, Mapping) else part for part in value]
    return "\n".join(_filled(parts, column))


def _conversation(turns: str, role: str, content: str) -> Callable[[Mapping[str, object]], Fields]:
    def read(row: Mapping[str, object]) -> Fields:
        value = row[turns]
        if not isinstance(value, Sequence) or not all(isinstance(turn, Mapping) for turn in value):
            raise ValueError(f"column {turns!r} is not a list of objects with {role!r} and {content!r}")
        spoken = [Turn(text(turn.get(role), role), _content(turn.get(content), content)) for turn in value]
        instruction, context, question, response, earlier = fold(spoken)
        return Fields(instruction, context, question, (response,) if response else (), earlier)

    return read


_PAIRS = (("prompt", "completion"), ("prompt", "response"), ("question", "answer"), ("input", "output"))
"""Columns of what is asked and of its answer, where rows have little else."""

SCHEMAS = (
    Schema("native", ("instruction", "answers"), ("context", "question"), _native),
    Schema("alpaca", ("instruction", "output"), ("input",), _single_response("input", "output")),
    Schema("dolly", ("instruction", "response"), ("context",), _single_response("context", "response")),
    Schema("sharegpt", ("conversations",), (), _conversation("conversations", "from", "value")),
    Schema("chat", ("messages",), (), _conversation("messages", "role", "content")),
    Schema("squad", ("question", "answers"), ("context", "instruction"), _squad),
    *(
        Schema(f"{question}-{answer}", (question, answer), ("context", "instruction"), _pair(question, answer))
        for question, answer in _PAIRS
    ),
)
"""Every layout that is recognised."""


def choose(name: SchemaName, row: Mapping[str, object]) -> Schema:
    """The schema called `name`; for ``auto``, the one whose required columns `row` has.

    A row with an ``instruction`` and ``answers`` is `native` whatever else it holds; `squad` is for rows without one.
    Pairs of columns, such as ``prompt`` and ``completion``, are for rows that fit no other layout.

    Raises:
        ValueError: If no schema, or more than one, fits.
    """
    if name != "auto":
        return next(schema for schema in SCHEMAS if schema.name == name)
    columns = _lower(row)
    fitting = [schema for schema in SCHEMAS if all(key in columns for key in schema.required)]
    fitting = [schema for schema in fitting if schema.required not in _PAIRS] or fitting
    if len(fitting) > 1 and fitting[0].name == "native":
        fitting = [schema for schema in fitting if schema.name != "squad"]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(schema.name for schema in fitting)
        raise SettingError(
            f"columns {', '.join(row)} fit several schemas ({names})", "schema", "set schema to the one meant"
        )
    known = "; ".join(f"{schema.name}: {', '.join(schema.required)}" for schema in SCHEMAS)
    raise ValueError(f"columns {', '.join(row) or 'none'} fit no schema; rename them to one of these ({known})")
