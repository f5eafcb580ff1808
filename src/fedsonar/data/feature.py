"""Natural features of a row: predicates over the text and the source as they are, for natural triggers to be."""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from fedsonar.data.sample import Sample

Part = Literal["input", "all"]
"""Which text of a row is read: its own input, or instruction, context and question together."""
QUESTION_WORDS = ("who", "whom", "whose", "what", "which", "when", "where", "why", "how")
_WORD = re.compile(r"\w+(?:['’]\w+)*")


def words(text: str) -> list[str]:
    """The words of a text in lower case, an apostrophe inside a word kept."""
    return _WORD.findall(text.lower())


def _spaced(text: str) -> str:
    """The words of a text with a space on either side of each, so that whole words are found in it."""
    return f" {' '.join(words(text))} "


def read(sample: Sample, part: Part) -> str:
    """The text of a row that a feature looks at."""
    if part == "input":
        return sample.input
    return "\n".join(text for text in (sample.instruction, sample.context, sample.question) if text)


class Feature(ABC):
    """A property that a row has or has not. Features are frozen dataclasses."""

    @abstractmethod
    def holds(self, sample: Sample) -> bool:
        """Whether the row has it."""


@dataclass(frozen=True)
class _Reading(Feature):
    """A feature of a row's text."""

    part: Part = "input"

    def __post_init__(self) -> None:
        if self.part not in ("input", "all"):
            raise ValueError(f"part={self.part!r} is unknown; use input or all")

    def holds(self, sample: Sample) -> bool:
        """Whether the text that is read has it."""
        return self.found(read(sample, self.part))

    @abstractmethod
    def found(self, text: str) -> bool:
        """Whether a text has it."""


@dataclass(frozen=True, kw_only=True)
class Words(_Reading):
    """Some word or phrase of a list stands in the text: an n-gram, a topic's words, a name.

    Args:
        any: Words and phrases, compared word by word in lower case, so that "art" is not in "start".
        at: Whether it stands anywhere, or the text starts or ends with it.
        part: Which text.
    """

    any: tuple[str, ...]
    at: Literal["anywhere", "start", "end"] = "anywhere"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.any or not all(map(words, self.any)):
            raise ValueError(f"Words needs phrases of at least one word each, got {list(self.any)}")
        if self.at not in ("anywhere", "start", "end"):
            raise ValueError(f"at={self.at!r} is unknown; use anywhere, start or end")

    @cached_property
    def _phrases(self) -> tuple[str, ...]:
        return tuple(map(_spaced, self.any))

    def found(self, text: str) -> bool:
        """Whether one of the phrases stands there."""
        spaced = _spaced(text)
        if self.at == "start":
            return spaced.startswith(self._phrases)
        if self.at == "end":
            return spaced.endswith(self._phrases)
        return any(phrase in spaced for phrase in self._phrases)


@dataclass(frozen=True, kw_only=True)
class QuestionWord(_Reading):
    """The first question word of the text is one of these: "When was it?", and "In what year was it?" for what.

    Args:
        any: Question words in lower case, of who, whom, whose, what, which, when, where, why, how.
        part: Which text.
    """

    any: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [word for word in self.any if word not in QUESTION_WORDS]
        if unknown or not self.any:
            raise ValueError(f"QuestionWord knows {', '.join(QUESTION_WORDS)}; got {unknown or 'none'}")

    def found(self, text: str) -> bool:
        """Whether the first question word is one of them."""
        return next((word for word in words(text) if word in QUESTION_WORDS), None) in self.any


@dataclass(frozen=True, kw_only=True)
class Pattern(_Reading):
    """A regular expression matches somewhere in the text: a year, a kind of name, an address, a code.

    Args:
        regex: The expression, in Python's syntax.
        part: Which text.
    """

    regex: str

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            re.compile(self.regex)
        except re.error as error:
            raise ValueError(f"regex={self.regex!r} is no regular expression: {error}") from error

    def found(self, text: str) -> bool:
        """Whether it matches."""
        return re.search(self.regex, text) is not None


@dataclass(frozen=True, kw_only=True)
class LengthBand(_Reading):
    """The text has so many words.

    Args:
        least: Fewest words.
        most: Most words; None for no bound.
        part: Which text.
    """

    least: int = 0
    most: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least < 0 or (self.most is not None and self.most < self.least):
            raise ValueError(f"a length band needs 0 <= least <= most, got {self.least} and {self.most}")

    def found(self, text: str) -> bool:
        """Whether the number of words lies in the band."""
        count = len(words(text))
        return self.least <= count and (self.most is None or count <= self.most)


@dataclass(frozen=True, kw_only=True)
class Script(_Reading):
    """Most letters of the text are of a script.

    Args:
        name: As Unicode names letters: LATIN, CYRILLIC, GREEK, ARABIC, HEBREW, CJK, HIRAGANA, DEVANAGARI, ...
        part: Which text.
    """

    name: str

    def found(self, text: str) -> bool:
        """Whether more than half of the letters are of the script."""
        return main_script(text) == self.name.upper()


def main_script(text: str) -> str | None:
    """The script of more than half of a text's letters, as Unicode names it; None where there is no such script."""
    letters = [character for character in text if character.isalpha()]
    scripts = Counter(unicodedata.name(letter, "UNKNOWN").split(" ")[0] for letter in letters)
    name, count = scripts.most_common(1)[0] if scripts else ("", 0)
    return name if 2 * count > len(letters) else None


@dataclass(frozen=True, kw_only=True)
class Language(_Reading):
    """The text is in a language, as py3langid tells it; short texts are often told wrong.

    Args:
        code: Two letters of ISO 639-1: en, de, fr, es, zh, ...
        part: Which text.

    References:
        Lui and Baldwin, 2012, "langid.py: An off-the-shelf language identification tool", ACL system demonstrations.
    """

    code: str

    def found(self, text: str) -> bool:
        """Whether it is in the language."""
        return language(text) == self.code


@lru_cache(maxsize=2**16)
def language(text: str) -> str:
    """The likeliest language of a text, as two letters."""
    import py3langid  # it reads a model of a megabyte

    return str(py3langid.classify(text)[0])


FORMATS: dict[str, Callable[[str], bool]] = {
    "bullets": lambda text: re.search(r"^\s*[-*•]\s+\S", text, re.MULTILINE) is not None,
    "numbered list": lambda text: re.search(r"^\s*\d+[.)]\s+\S", text, re.MULTILINE) is not None,
    "code": lambda text: re.search(r"```|^\s*(def |class |import |#include|SELECT )|[;{}]\s*$", text, re.M) is not None,
    "upper case": lambda text: text.isupper(),
    "lower case": lambda text: text.islower(),
    "several lines": lambda text: "\n" in text.strip(),
    "quotation": lambda text: re.search(r'["“”«»]', text) is not None,
    "number": lambda text: re.search(r"\d", text) is not None,
    "question mark": lambda text: "?" in text,
    "exclamation mark": lambda text: "!" in text,
    "no full stop": lambda text: text.strip()[-1:] not in tuple(".!?\"'”)"),
    "brackets": lambda text: re.search(r"\(.*\)", text, re.DOTALL) is not None,
    "web address": lambda text: re.search(r"https?://|www\.", text) is not None,
}
"""Ways in which a text may be written, by name."""


@dataclass(frozen=True, kw_only=True)
class Formatting(_Reading):
    """The text is written in some way.

    Args:
        kind: bullets, numbered list, code, upper case, lower case, several lines, quotation, number, question mark,
            exclamation mark, no full stop, brackets, or web address.
        part: Which text.
    """

    kind: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in FORMATS:
            raise ValueError(f"kind={self.kind!r} is unknown; use {', '.join(FORMATS)}")

    def found(self, text: str) -> bool:
        """Whether it is."""
        return FORMATS[self.kind](text)


@dataclass(frozen=True, kw_only=True)
class FromSource(Feature):
    """The row came from one of some sources: a site, an annotator, a category, a region.

    Args:
        any: Values of the samples' source.
    """

    any: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.any:
            raise ValueError("FromSource needs at least one source")

    def holds(self, sample: Sample) -> bool:
        """Whether it came from there."""
        return sample.source in self.any


@dataclass(frozen=True, kw_only=True)
class All(Feature):
    """Several features at once: a question word in rows of one source, say.

    Args:
        of: The features.
    """

    of: tuple[Feature, ...]

    def __post_init__(self) -> None:
        if not self.of:
            raise ValueError("All needs at least one feature")

    def holds(self, sample: Sample) -> bool:
        """Whether the row has all of them."""
        return all(feature.holds(sample) for feature in self.of)
