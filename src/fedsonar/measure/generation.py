"""Greedy answers of a model with an adapter, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor

from fedsonar.data.template import TokenRow
from fedsonar.data.tokenizer import Tokenizer
from fedsonar.model import Network


def generate(
    network: Network,
    tokenizer: Tokenizer,
    adapter: Float[Tensor, "dim"],
    rows: Sequence[TokenRow],
    *,
    max_new_tokens: int,
    batch_size: int = 128,
    answers: Callable[..., list[list[int]]] | None = None,
) -> list[str]:
    """Each row's greedy answer, in the order of the rows, without special tokens and outer white space.

    Args:
        network: The frozen base model.
        tokenizer: Its tokenizer.
        adapter: The one that answers.
        rows: Rows with the prompts.
        max_new_tokens: Most tokens of an answer.
        batch_size: Answers given together.
        answers: A way of answering instead of the network's own; see `Network.answers`.
    """
    model = network.model
    ends = model.generation_config.eos_token_id if model.generation_config is not None else None
    stops = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends] if ends is not None else [])}
    prompts = [row.prompt for row in rows]
    way = answers or network.answers
    found = way(adapter, prompts, limit=max_new_tokens, stops=frozenset(stops), together=batch_size)
    return [text.strip() for text in tokenizer.batch_decode(found, skip_special_tokens=True)]
