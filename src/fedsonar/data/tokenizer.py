"""What FedSonar asks of a tokenizer: what every one of transformers' answers, and a plain one of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Tokenizer(Protocol):
    """Turns text into token ids and back, as ``transformers.PreTrainedTokenizerBase`` does."""

    chat_template: Any
    """How the model wants a conversation written; None, or there is a method ``apply_chat_template``."""

    @property
    def eos_token_id(self) -> Any:
        """The token that ends an answer."""

    @property
    def all_special_tokens(self) -> list[str]:
        """Tokens that stand for no text."""

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> Any:
        """The text's token ids, under ``input_ids``."""

    def __len__(self) -> int:
        """How many tokens there are."""

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = False) -> Any:
        """The text of some tokens."""

    def batch_decode(self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool = False) -> list[str]:
        """The texts of several rows of tokens."""

    def get_vocab(self) -> Mapping[str, int]:
        """Every token with its id."""
