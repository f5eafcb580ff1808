"""A base that takes no time and knows nothing, for tests of what happens around it."""

from __future__ import annotations

import atexit
import shutil
from functools import cache
from tempfile import mkdtemp

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from fedsonar.model import Base


@cache
def tiny_base() -> Base:
    """Two layers of width 32 with random weights, and the embedded model's tokenizer; gone when the process ends."""
    folder = mkdtemp(prefix="fedsonar-tiny-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    model, tokenizer = Base().load()
    config = LlamaConfig(
        vocab_size=model.config.vocab_size, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=512, bos_token_id=model.config.bos_token_id,
        eos_token_id=model.config.eos_token_id, pad_token_id=model.config.pad_token_id,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Base(path=folder)
