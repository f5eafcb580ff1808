"""Named shapes of models in Llama's layout: speed depends on the shape, not on what the weights say."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fedsonar.model import Base
from fedsonar.model.foreign import LlamaConfig, PreTrainedModel
from fedsonar.rng import torch_stream

END, PAD = 0, 1
"""The end and the padding token of every shape, as the embedded tokenizer has them."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The widths and counts of a model in Llama's layout.

    Args:
        vocab: Tokens of the vocabulary.
        hidden: Width of the residual stream.
        intermediate: Width inside the feed-forward part.
        layers: Number of blocks.
        heads: Attention heads.
        kv_heads: Heads of keys and values; fewer than `heads` where several queries share one.
        tied: Whether the embedding matrix is the output matrix too.
    """

    vocab: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    tied: bool = False

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads

    def linears(self) -> dict[str, tuple[int, int]]:
        """The linear layers of one block: name -> input and output width."""
        keys = self.kv_heads * self.head_dim
        return {
            "self_attn.q_proj": (self.hidden, self.hidden),
            "self_attn.k_proj": (self.hidden, keys),
            "self_attn.v_proj": (self.hidden, keys),
            "self_attn.o_proj": (self.hidden, self.hidden),
            "mlp.gate_proj": (self.hidden, self.intermediate),
            "mlp.up_proj": (self.hidden, self.intermediate),
            "mlp.down_proj": (self.intermediate, self.hidden),
        }

    @property
    def weights(self) -> int:
        """Weights of the model, norms left out."""
        blocks = self.layers * sum(a * b for a, b in self.linears().values())
        return blocks + self.vocab * self.hidden * (1 if self.tied else 2)

    def config(self) -> LlamaConfig:
        """The shape in the words of transformers."""
        from transformers import LlamaConfig

        return LlamaConfig(
            vocab_size=self.vocab, hidden_size=self.hidden, intermediate_size=self.intermediate,
            num_hidden_layers=self.layers, num_attention_heads=self.heads, num_key_value_heads=self.kv_heads,
            tie_word_embeddings=self.tied, max_position_embeddings=2048,
            bos_token_id=END, eos_token_id=END, pad_token_id=PAD,
        )  # fmt: skip


SHAPES = {
    "tiny": Shape(vocab=1024, hidden=32, intermediate=64, layers=2, heads=4, kv_heads=2),
    "embedded": Shape(vocab=5120, hidden=192, intermediate=512, layers=5, heads=6, kv_heads=6, tied=True),
    "15m": Shape(vocab=32000, hidden=288, intermediate=768, layers=6, heads=6, kv_heads=6, tied=True),
    "135m": Shape(vocab=49152, hidden=576, intermediate=1536, layers=30, heads=9, kv_heads=3, tied=True),
    "1b": Shape(vocab=128256, hidden=2048, intermediate=8192, layers=16, heads=32, kv_heads=8, tied=True),
    "7b": Shape(vocab=32000, hidden=4096, intermediate=11008, layers=32, heads=32, kv_heads=32),
}
"""``embedded`` is the package's own checkpoint, ``tiny`` is for a first look; the others are those of public models."""


def load(name: str, *, dtype: str, device: str, seed: int = 0) -> PreTrainedModel:
    """The frozen model of a named shape: the embedded one as it is shipped, any other with random weights.

    Args:
        name: A key of `SHAPES`.
        dtype: ``float32`` or ``bfloat16``; weights are drawn in it, so that a large model needs its own memory only.
        device: Where it lives, say ``cpu`` or ``cuda``.
        seed: Seed of the weights; the same seed, dtype and device give the same weights.
    """
    if name == "embedded":
        return Base(dtype="bfloat16" if dtype == "bfloat16" else "float32", device=device).model()
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(torch_stream(seed, "bench/weights").initial_seed())
        model: PreTrainedModel = AutoModelForCausalLM.from_config(SHAPES[name].config(), dtype=getattr(torch, dtype))  # type: ignore[no-untyped-call]
    module: torch.nn.Module = model
    module.eval().requires_grad_(False)
    return model
