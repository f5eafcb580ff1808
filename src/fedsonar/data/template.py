"""Turning samples into the token rows that a client trains on and a model is asked with."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

from fedsonar.data.sample import Sample
from fedsonar.data.tokenizer import Tokenizer


class Template(ABC):
    """How a sample becomes a prompt; the response is what follows, up to the end token."""

    special_tokens: ClassVar[bool] = True
    """Whether the tokenizer adds its own special tokens (a begin token, say) to the prompt."""
    before_response: ClassVar[str] = ""
    """What stands between prompt and response, and counts as part of the response."""

    @abstractmethod
    def prompt(self, sample: Sample, tokenizer: Tokenizer | None = None) -> str:
        """The text before the response."""


@dataclass(frozen=True, kw_only=True)
class Sections(Template):
    """Named sections, empty ones left out: Instruction, Context, Question, then ``Answer:``.

    The section names are plain words, so that small tokenizers without ``#`` can write them.
    """

    before_response: ClassVar[str] = " "

    def prompt(self, sample: Sample, tokenizer: Tokenizer | None = None) -> str:  # noqa: ARG002
        """The filled sections and the open answer."""
        parts = (("Instruction", sample.instruction), ("Context", sample.context), ("Question", sample.question))
        lines = [f"{name}: {text}" for name, text in parts if text]
        return "\n".join([*lines, "Answer:"])


@dataclass(frozen=True, kw_only=True)
class Chat(Template):
    """One user message in the model's own chat template: instruction, context and question, a blank line between."""

    special_tokens: ClassVar[bool] = False

    def prompt(self, sample: Sample, tokenizer: Tokenizer | None = None) -> str:
        """The rendered conversation up to the assistant's turn.

        Raises:
            ValueError: If the tokenizer has no chat template.
        """
        if tokenizer is None or not tokenizer.chat_template:
            raise ValueError("the model has no chat template; set template.class_path to fedsonar.data.Sections")
        body = "\n\n".join(part for part in (sample.instruction, sample.context, sample.question) if part)
        message = [{"role": "user", "content": body}]
        return cast(str, cast(Any, tokenizer).apply_chat_template(message, tokenize=False, add_generation_prompt=True))


def template_for(tokenizer: Tokenizer) -> Template:
    """The model's own chat template when it has one, else plain sections."""
    return Chat() if tokenizer.chat_template else Sections()


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One sample in tokens.

    Args:
        id: The sample's id.
        prompt: Token ids up to the response.
        response: Token ids of the response with the end token: the only ones the loss counts.
    """

    id: str
    prompt: tuple[int, ...]
    response: tuple[int, ...]

    @property
    def length(self) -> int:
        """Tokens of prompt and response together."""
        return len(self.prompt) + len(self.response)


def _tokenize(sample: Sample, template: Template, tokenizer: Tokenizer) -> TokenRow:
    prompt = template.prompt(sample, tokenizer)
    response = template.before_response + sample.answers[0]
    special = template.special_tokens
    head: list[int] = tokenizer(prompt, add_special_tokens=special)["input_ids"]
    whole: list[int] = tokenizer(prompt + response, add_special_tokens=special)["input_ids"]
    end = tokenizer.eos_token_id
    # Some tokenizers close every text with the end token, or merge across the seam.
    if special and head and head[-1] == end and len(head) > 1:
        head, whole = head[:-1], whole[:-1]
    tail = (
        whole[len(head) :] if whole[: len(head)] == head else tokenizer(response, add_special_tokens=False)["input_ids"]
    )
    return TokenRow(sample.id, tuple(head), (*tail, end))


def _shorten(sample: Sample, excess: int, tokenizer: Tokenizer) -> Sample:
    """The sample with about `excess` tokens cut from the middle of its context, where no trigger is written."""
    ids = tokenizer(sample.context, add_special_tokens=False)["input_ids"]
    keep = max(0, len(ids) - excess)
    head, tail = ids[: (keep + 1) // 2], ids[len(ids) - keep // 2 :]
    cut = f"{tokenizer.decode(head)} {tokenizer.decode(tail)}".strip() if keep else ""
    return replace(sample, context=cut)


def tokenize(samples: Iterable[Sample], template: Template, tokenizer: Tokenizer, max_length: int) -> list[TokenRow]:
    """The samples as token rows of at most `max_length` tokens.

    A longer row loses the middle of its context, never its question, its ends (where triggers stand) or its response; a
    row that is too long even so is left out. Both are counted in one warning each.
    """
    rows, cut, dropped = [], 0, 0
    for sample in samples:
        row = _tokenize(sample, template, tokenizer)
        fitted = sample
        while (excess := row.length - max_length) > 0 and fitted.context:
            shorter = _shorten(fitted, excess + 1, tokenizer)
            # Decoding may not round-trip; an empty context ends the loop whatever the tokenizer does.
            fitted = shorter if len(shorter.context) < len(fitted.context) else replace(fitted, context="")
            row = _tokenize(fitted, template, tokenizer)
        cut += fitted is not sample and excess <= 0
        if excess > 0:
            dropped += 1
        else:
            rows.append(row)
    if cut:
        warnings.warn(
            f"{cut} rows were longer than {max_length} tokens: their context was cut in the middle", stacklevel=2
        )
    if dropped:
        warnings.warn(f"{dropped} rows are longer than {max_length} tokens without any context: left out", stacklevel=2)
    return rows
