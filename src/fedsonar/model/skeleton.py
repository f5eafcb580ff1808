"""The weights of a Llama checkpoint under transformers' names, without the seconds that its import takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn


class Skeleton(nn.Module):
    """A Llama model that has its weights and knows its shape, and computes nothing but the rotary embedding.

    What a network of our own reads of a model is here, under the same names: layers, norms, embeddings, ``config`` and
    ``generation_config``.

    Args:
        config: The checkpoint's ``config.json``; see `plain`.
        tensors: Its weights by name; taken out of the mapping.
        stop: Tokens that end an answer, as ``generation_config.json`` has them.

    Raises:
        KeyError: If a weight is missing.
        ValueError: If a weight has another shape than the configuration says, or is one too many.
    """

    def __init__(self, config: Mapping[str, Any], tensors: dict[str, Tensor], stop: Any) -> None:
        super().__init__()
        hidden, heads = config["hidden_size"], config["num_attention_heads"]
        size = config.get("head_dim") or hidden // heads
        queries, keys = heads * size, (config.get("num_key_value_heads") or heads) * size
        inner, vocabulary = config["intermediate_size"], config["vocab_size"]
        self.config = SimpleNamespace(**config)
        self.generation_config = SimpleNamespace(eos_token_id=stop)

        def weights(module: Any, name: str, *shape: int, bias: bool = False) -> Any:
            for part, wanted in (("weight", shape), ("bias", shape[:1]))[: 1 + bias]:
                tensor = tensors.pop(f"{name}.{part}")
                if tensor.shape != wanted:
                    raise ValueError(f"{name}.{part} has shape {tuple(tensor.shape)}, not {wanted}")
                setattr(module, part, nn.Parameter(tensor, requires_grad=False))
            return module

        def linear(name: str, width: int, out: int, *, bias: bool = False) -> Any:
            return weights(nn.Linear(width, out, bias=bias, device="meta"), name, out, width, bias=bias)

        def norm(name: str) -> Any:
            module = weights(nn.Module(), name, hidden)
            module.variance_epsilon = config["rms_norm_eps"]
            return module

        def block(name: str) -> nn.Module:
            attention, feed_forward, module = nn.Module(), nn.Module(), nn.Module()
            attention.head_dim = size
            biased, biased_inner = bool(config.get("attention_bias")), bool(config.get("mlp_bias"))
            for part, out in (("q_proj", queries), ("k_proj", keys), ("v_proj", keys)):
                attention.add_module(part, linear(f"{name}.self_attn.{part}", hidden, out, bias=biased))
            attention.o_proj = linear(f"{name}.self_attn.o_proj", queries, hidden, bias=biased)
            for part in ("gate_proj", "up_proj"):
                feed_forward.add_module(part, linear(f"{name}.mlp.{part}", hidden, inner, bias=biased_inner))
            feed_forward.down_proj = linear(f"{name}.mlp.down_proj", inner, hidden, bias=biased_inner)
            module.self_attn, module.mlp = attention, feed_forward
            for part in ("input_layernorm", "post_attention_layernorm"):
                module.add_module(part, norm(f"{name}.{part}"))
            return module

        self.lm_head: Any
        self.model: Any = nn.Module()
        embedding = weights(nn.Module(), "model.embed_tokens", vocabulary, hidden)
        self.model.embed_tokens = embedding
        self.model.layers = nn.ModuleList(block(f"model.layers.{i}") for i in range(config["num_hidden_layers"]))
        self.model.norm = norm("model.norm")
        self.model.rotary_emb = _Rotary(size, _theta(config))
        if config.get("tie_word_embeddings"):
            tensors.pop("lm_head.weight", None)
            head = nn.Linear(hidden, vocabulary, bias=False, device="meta")
            head.weight = embedding.weight
            self.lm_head = head
        else:
            self.lm_head = linear("lm_head", hidden, vocabulary)
        if left := [name for name in tensors if not name.endswith("rotary_emb.inv_freq")]:
            raise ValueError(f"{left[0]} is no weight of a Llama model")

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return self.model.embed_tokens.weight.dtype  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.embed_tokens.weight.device  # type: ignore[no-any-return]

    def get_output_embeddings(self) -> nn.Module:
        """The output layer."""
        head: nn.Module = self.lm_head
        return head


class _Rotary(nn.Module):
    """Cosines and sines of the rotary embedding.

    References:
        Su et al., 2021, arXiv:2104.09864, equation 34.
    """

    def __init__(self, size: int, theta: float) -> None:
        super().__init__()
        self.speeds = theta ** -(torch.arange(0, size, 2, dtype=torch.float32) / size)

    def forward(self, x: Tensor, positions: Int[Tensor, "1 length"]) -> tuple[Float[Tensor, "1 length size"], ...]:
        """Cosines and sines of both halves, in the type of `x`."""
        angles = positions[..., None].float() * self.speeds
        return tuple(torch.cat((part, part), -1).to(x.dtype) for part in (angles.cos(), angles.sin()))


def skeleton_of(folder: Path, dtype: torch.dtype) -> Skeleton | None:
    """The skeleton of a checkpoint's folder; None where transformers should look, if only to say what is wrong."""
    try:
        config = json.loads((folder / "config.json").read_text())
        if not plain(config):
            return None
        generation = folder / "generation_config.json"
        stop = (json.loads(generation.read_text()) if generation.is_file() else config).get("eos_token_id")
        tensors: dict[str, Tensor] = {}
        for file in sorted(folder.glob("model*.safetensors")):
            tensors |= {name: tensor.to(dtype) for name, tensor in load_file(file).items()}
        return Skeleton(config, tensors, stop)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None


def plain(config: Mapping[str, Any]) -> bool:
    """Whether the configuration is that of a Llama model without any extension."""
    rope = config.get("rope_parameters") or {}
    return (
        config.get("model_type") == "llama"
        and config.get("hidden_act", "silu") == "silu"
        and not config.get("rope_scaling")
        and rope.get("rope_type", "default") == "default"
        and not rope.keys() - {"rope_type", "rope_theta"}
        and config.get("pretraining_tp", 1) == 1
        and not config.get("quantization_config")
    )


def _theta(config: Mapping[str, Any]) -> float:
    return float((config.get("rope_parameters") or {}).get("rope_theta") or config.get("rope_theta") or 10000.0)
