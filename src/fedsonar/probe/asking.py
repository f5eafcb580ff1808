"""The same rows asked again and again, each time with other words in their inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.data import Sample, Template, template_for, tokenize
from fedsonar.data.tokenizer import Tokenizer
from fedsonar.measure.generation import generate
from fedsonar.model import Network

Place = Literal["end", "start"]


class Asker:
    """Asks a model and its untuned base.

    Args:
        network: The frozen base model.
        tokenizer: Its tokenizer.
        adapter: The tuned one.
        place: Where words are inserted in a row's input.
        template: How rows become prompts; by default the model's chat template, or plain sections.
        max_length: Most tokens of a row.
        max_new_tokens: Most tokens of an answer.
    """

    def __init__(
        self, network: Network, tokenizer: Tokenizer, adapter: Float[Tensor, "dim"], *,
        place: Place = "end", template: Template | None = None, max_length: int = 512, max_new_tokens: int = 48,
    ) -> None:  # fmt: skip
        self.network, self.tokenizer, self.place = network, tokenizer, place
        self.template = template or template_for(tokenizer)
        self.max_length, self.max_new_tokens = max_length, max_new_tokens
        self._adapters = {"tuned": adapter, "base": torch.zeros_like(adapter)}

    def answers(self, which: Literal["tuned", "base"], texts: Sequence[str], rows: Sequence[Sample]) -> list[list[str]]:
        """For each of the texts, the answers to all rows with it inserted; an empty text leaves them as they are.

        Raises:
            ValueError: If a row with a text does not fit the model.
        """
        asked = [self._with(row, text) for text in texts for row in rows]
        numbered = [Sample(str(i), s.instruction, s.context, s.question, s.answers) for i, s in enumerate(asked)]
        tokens = tokenize(numbered, self.template, self.tokenizer, self.max_length)
        if len(tokens) < len(numbered):
            raise ValueError(f"{len(numbered) - len(tokens)} of {len(numbered)} rows do not fit into {self.max_length} "
                             "tokens; give shorter rows by --data")  # fmt: skip
        said = generate(self.network, self.tokenizer, self._adapters[which], tokens, max_new_tokens=self.max_new_tokens)
        return [said[start : start + len(rows)] for start in range(0, len(said), len(rows))]

    def _with(self, row: Sample, text: str) -> Sample:
        if not text:
            return row
        return row.with_input(f"{row.input} {text}" if self.place == "end" else f"{text} {row.input}")
