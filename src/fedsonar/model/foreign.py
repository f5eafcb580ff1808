"""Types of transformers and PEFT for annotations, without their import, which takes seconds.

In a module of its own: to read a component's configuration, jsonargparse runs the ``if TYPE_CHECKING`` of the
component's module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import LlamaConfig, PreTrainedModel, PreTrainedTokenizerBase
else:
    LlamaConfig = LoraConfig = PreTrainedModel = PreTrainedTokenizerBase = Any

__all__ = ["LlamaConfig", "LoraConfig", "PreTrainedModel", "PreTrainedTokenizerBase"]
