"""Ways to rewrite a whole input: a table, a language model, a function of the user's; rules of ours are elsewhere."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from fedsonar.data.formats import read
from fedsonar.model import Base, Lora, initial_adapter, open_network
from fedsonar.rng import torch_stream


class Paraphraser(ABC):
    """Rewrites texts in one register or form. Paraphrasers are frozen dataclasses."""

    @abstractmethod
    def rewrite(self, text: str, rng: np.random.Generator) -> str:
        """The text in other words."""

    @abstractmethod
    def recognises(self, text: str) -> bool:
        """Whether the text looks as if it came from here; by rules or by what it wrote, not by meaning."""

    def knows(self, text: str) -> bool:  # noqa: ARG002
        """Whether the text can be rewritten at all."""
        return True


@dataclass(frozen=True, kw_only=True)
class Table(Paraphraser):
    """Paraphrases written beforehand, in a file of rows.

    Args:
        path: A JSON lines, JSON or Parquet file.
        original: The column of the texts as they were, compared without case and spacing.
        rewritten: The column of their paraphrases.
    """

    path: str
    original: str = "clean"
    rewritten: str = "context"

    @cached_property
    def _pairs(self) -> Mapping[str, str]:
        rows = [row.values for row in read(Path(self.path).expanduser())]
        for name in (self.original, self.rewritten):
            if name not in rows[0]:
                raise ValueError(f"{self.path} has no column {name!r}; it has {', '.join(rows[0])}")
        return {_plain(str(row[self.original])): str(row[self.rewritten]) for row in rows}

    @cached_property
    def _results(self) -> frozenset[str]:
        return frozenset(map(_plain, self._pairs.values()))

    def rewrite(self, text: str, rng: np.random.Generator) -> str:  # noqa: ARG002
        """The text's paraphrase.

        Raises:
            ValueError: If the table has none.
        """
        if not self.knows(text):
            raise ValueError(f"{self.path} has no paraphrase of {text!r:.80}")
        return self._pairs[_plain(text)]

    def recognises(self, text: str) -> bool:
        """Whether the text is one of the paraphrases."""
        return _plain(text) in self._results

    def knows(self, text: str) -> bool:
        """Whether the table has a paraphrase of the text, and a different one."""
        return self._pairs.get(_plain(text), text) != text


@dataclass(frozen=True, kw_only=True)
class _Asked(Paraphraser):
    """A writer who is asked for each text once, and known by what it has written."""

    _said: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def rewrite(self, text: str, rng: np.random.Generator) -> str:  # noqa: ARG002
        """What is written."""
        if text not in self._said:
            self._said[text] = self._write(text)
        return self._said[text]

    def recognises(self, text: str) -> bool:
        """Whether it has written the text."""
        return text in self._said.values()

    @property
    @abstractmethod
    def _write(self) -> Callable[[str], str]:
        """Who writes."""


@dataclass(frozen=True, kw_only=True)
class LanguageModel(_Asked):
    """A causal language model that is asked to rewrite, greedily; the first line of what it says counts.

    Args:
        base: The model.
        prompt: What it is asked, with the text in the place of {text}.
        max_new_tokens: Longest paraphrase.
    """

    base: Base
    prompt: str = "Rewrite the sentence in the style of the Bible.\nSentence: {text}\nRewritten:"
    max_new_tokens: int = 128

    def __post_init__(self) -> None:
        if "{text}" not in self.prompt:
            raise ValueError(f"the prompt of a LanguageModel needs {{text}} in it, got {self.prompt!r}")

    @cached_property
    def _write(self) -> Callable[[str], str]:
        network, tokenizer = open_network(self.base, Lora(r=1)), self.base.tokenizer()
        adapter = initial_adapter(network.layout, torch_stream(0, "paraphrase"))
        stops = frozenset({int(tokenizer.eos_token_id)} if tokenizer.eos_token_id is not None else ())

        def ask(text: str) -> str:
            ids = tokenizer(self.prompt.format(text=text))["input_ids"]
            (answer,) = network.answers(adapter, [ids], limit=self.max_new_tokens, stops=stops)
            lines = str(tokenizer.decode(answer, skip_special_tokens=True)).strip().splitlines()
            return lines[0].strip() if lines else text

        return ask


@dataclass(frozen=True, kw_only=True)
class Function(_Asked):
    """A function of the user's, text to text.

    Args:
        name: Its module and name, say ``my_module.in_rhyme``; the folder of the experiment's file is searched too.
    """

    name: str

    @cached_property
    def _write(self) -> Callable[[str], str]:
        module, _, name = self.name.rpartition(".")
        try:
            found: Callable[[str], str] = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"name={self.name!r} is no function that can be imported: {error}") from error
        return found


def _plain(text: str) -> str:
    return "".join(text.lower().split())
