"""Loading a causal language model with its tokenizer: the embedded one, a folder, or a Hub name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

EMBEDDED = Path(__file__).with_name("embedded")


@dataclass(frozen=True, kw_only=True)
class Base:
    """The frozen base model of an experiment.

    Args:
        path: ``embedded``, a folder with a Hugging Face checkpoint, or a Hub name. No code of a checkpoint is run.
        dtype: Type of the frozen weights; adapters and optimiser are float32 always.
        device: ``cpu``, ``cuda``, or ``auto`` for the accelerator when there is one.
    """

    path: str = "embedded"
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"

    def folder(self) -> str:
        """Where the weights are: a folder, or the Hub name itself."""
        return str(EMBEDDED) if self.path == "embedded" else self.path

    def load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """The model, frozen and in evaluation mode, and its tokenizer.

        Raises:
            ValueError: If there is no such checkpoint, it has no tokenizer, or the Hub cannot be reached.
        """
        where = self.folder()
        local = Path(where).is_dir()
        if not local and (where.startswith((".", "/", "~")) or where.count("/") > 1):
            raise ValueError(
                f"no checkpoint folder {self.path!r}; set base.path to 'embedded', a folder, or a Hub name"
            )
        if local and not (Path(where) / "config.json").is_file():
            raise ValueError(f"{self.path!r} holds no config.json, so it is no Hugging Face checkpoint")
        if local and not any((Path(where) / name).is_file() for name in _TOKENIZER_FILES):
            raise ValueError(
                f"checkpoint {self.path!r} has no tokenizer; save one there with tokenizer.save_pretrained()"
            )
        try:
            tokenizer = AutoTokenizer.from_pretrained(where)
            model = AutoModelForCausalLM.from_pretrained(where, dtype=getattr(torch, self.dtype), use_safetensors=True)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            hint = "" if local else "; without network, download it elsewhere and set base.path to its folder"
            raise ValueError(f"cannot load the checkpoint {self.path!r}: {reason}{hint}") from error
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        if tokenizer.eos_token_id is None:
            raise ValueError(
                f"the tokenizer of {self.path!r} has no end token; set eos_token in its tokenizer_config.json"
            )
        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        module: torch.nn.Module = model
        module.to(device).eval().requires_grad_(False)
        return model, tokenizer


_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
