"""A tokenizer that is all in its ``tokenizer.json``, without the second or two that transformers' import takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import tokenizers

_KNOWN = frozenset({
    "backend", "bos_token", "clean_up_tokenization_spaces", "eos_token", "is_local", "local_files_only",
    "model_max_length", "pad_token", "padding_side", "tokenizer_class", "unk_token",
})  # fmt: skip
"""Settings that a plain tokenizer may have; any other may change what it does."""

_SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token")


class PlainTokenizer:
    """A `Tokenizer` by the tokenizers library alone; see `plain_tokenizer` for whose tokens are the same so.

    Args:
        backend: What turns text into tokens and back.
        special: Its special tokens by their names in ``tokenizer_config.json``, the end token among them.
    """

    chat_template = None

    def __init__(self, backend: tokenizers.Tokenizer, special: dict[str, str]) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self.all_special_tokens = list(dict.fromkeys(special.values()))
        self.eos_token_id = backend.token_to_id(special["eos_token"])
        self.pad_token_id = backend.token_to_id(special.get("pad_token", special["eos_token"]))

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> dict[str, list[int]]:
        """The text's token ids, under ``input_ids``."""
        return {"input_ids": list(self._backend.encode(text, add_special_tokens=add_special_tokens).ids)}

    def __len__(self) -> int:
        """How many tokens there are."""
        return int(self._backend.get_vocab_size())

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """The text of some tokens."""
        return str(self._backend.decode(token_ids, skip_special_tokens=skip_special_tokens))

    def batch_decode(self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool = False) -> list[str]:
        """The texts of several rows of tokens."""
        return [self.decode(row, skip_special_tokens) for row in sequences]

    def get_vocab(self) -> dict[str, int]:
        """Every token with its id."""
        return dict(self._backend.get_vocab())


def plain_tokenizer(folder: Path) -> PlainTokenizer | None:
    """The tokenizer of a Llama checkpoint, where transformers' own would be nothing but its ``tokenizer.json``.

    None where it may be more: another class, a chat template, settings that are not known here, special tokens that
    the file does not have as such, or no readable file at all.
    """
    try:
        named = json.loads((folder / "tokenizer_config.json").read_text())
        kind = json.loads((folder / "config.json").read_text())["model_type"]
        described = json.loads((folder / "tokenizer.json").read_text())
        special = {name: named[name] for name in _SPECIAL if named.get(name) is not None}
        known = {token["content"] for token in described["added_tokens"] if token["special"]}
        plain = (named["tokenizer_class"], kind) == ("TokenizersBackend", "llama") and _KNOWN.issuperset(named)
        plain &= not named.get("clean_up_tokenization_spaces") and not list(folder.glob("*chat_template*"))
        if not plain or "eos_token" not in special or not known.issuperset(special.values()):
            return None
        return PlainTokenizer(tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")), special)
    except Exception:  # whatever is the matter, transformers says it better; the library raises nothing narrower
        return None
