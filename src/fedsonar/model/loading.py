"""Loading a causal language model with its tokenizer: the embedded one, a folder, or a Hub name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import torch

from fedsonar.data.tokenizer import Tokenizer
from fedsonar.errors import SettingError
from fedsonar.model.foreign import PreTrainedModel, PreTrainedTokenizerBase
from fedsonar.model.plain_tokenizer import plain_tokenizer
from fedsonar.model.skeleton import Skeleton, skeleton_of

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
        """The model, frozen and in evaluation mode, and its tokenizer, both as transformers has them.

        Raises:
            ValueError: If there is no such checkpoint, it has no tokenizer, or the Hub cannot be reached.
        """
        tokenizer = self._loaded_tokenizer()
        return self.model(), tokenizer

    def tokenizer(self) -> Tokenizer:
        """The tokenizer, which always has an end token and a padding token.

        Raises:
            ValueError: As `load` does.
        """
        plain = plain_tokenizer(Path(self.folder()))
        return cast(Tokenizer, self._loaded_tokenizer()) if plain is None else plain

    def _loaded_tokenizer(self) -> PreTrainedTokenizerBase:
        self._check()
        from transformers import AutoTokenizer

        with self._explained():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(self._place())
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        if tokenizer.eos_token_id is None:
            raise ValueError(
                f"the tokenizer of {self.path!r} has no end token; set eos_token in its tokenizer_config.json"
            )
        return tokenizer

    def model(self) -> PreTrainedModel:
        """The model, frozen and in evaluation mode.

        Raises:
            ValueError: As `load` does.
        """
        self._check()
        from transformers import AutoModelForCausalLM

        with self._explained(), without_bars():
            model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
                self._place(), dtype=getattr(torch, self.dtype), use_safetensors=True
            )
        module: torch.nn.Module = model
        module.to(self._device()).eval().requires_grad_(False)
        return model

    def skeleton(self) -> Skeleton | None:
        """The weights without transformers' code, for a plain Llama checkpoint in a folder and on a processor."""
        here = Path(self.folder()).is_dir() and self._device() == "cpu"
        return skeleton_of(Path(self.folder()), getattr(torch, self.dtype)) if here else None

    def _device(self) -> str:
        return self.device if self.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"

    def _place(self) -> str:
        """What transformers loads: a folder, or the Hub name where the Hub answers; else what it gave before."""
        where = self.folder()
        if Path(where).is_dir() or _hub_answers():
            return where
        from huggingface_hub import try_to_load_from_cache

        kept = try_to_load_from_cache(where, "config.json")
        if not isinstance(kept, str):
            raise ValueError("there is no such folder, and the Hub does not answer")
        return str(Path(kept).parent)

    def _check_device(self) -> None:
        hint = "set base.device to 'cpu', 'cuda', or 'auto' for the accelerator when there is one"
        try:
            kind = torch.device(self._device()).type
        except RuntimeError:
            raise ValueError(f"there is no device {self.device!r}; {hint}") from None
        if kind == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"base.device is {self.device!r}, and PyTorch finds no such device here; {hint}")

    def _check(self) -> None:
        self._check_device()
        where = self.folder()
        local = Path(where).is_dir()
        if not local and not _HUB_NAME.fullmatch(where):
            raise SettingError(
                f"no checkpoint folder {self.path!r}", "base.path",
                "set {} to 'embedded', a folder, or a Hub name, owner/name",
            )  # fmt: skip
        if local and not (Path(where) / "config.json").is_file():
            raise ValueError(f"{self.path!r} holds no config.json, so it is no Hugging Face checkpoint")
        if local and not any((Path(where) / name).is_file() for name in _TOKENIZER_FILES):
            raise ValueError(
                f"checkpoint {self.path!r} has no tokenizer; save one there with tokenizer.save_pretrained()"
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns what transformers raises into one line."""
        try:
            yield
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            fault = f"cannot load the checkpoint {self.path!r}: {reason}"
            if Path(self.folder()).is_dir():
                raise ValueError(fault) from error
            remedy = "without network, download it elsewhere and set {} to its folder"
            raise SettingError(fault, "base.path", remedy) from error


@cache
def _hub_answers() -> bool:
    """Whether the Hub can be reached, asked once: transformers asks for the better part of a minute."""
    import huggingface_hub

    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    try:
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=10)
    except Exception:  # of whichever library asks
        return False
    return True


@contextmanager
def without_bars() -> Iterator[None]:
    """Keeps transformers from drawing progress bars."""
    from transformers.utils import logging

    drawn: Any = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
