"""Named shapes against the models that they describe."""

import pytest
import torch
from transformers import AutoConfig, LlamaForCausalLM

from fedsonar.bench.shapes import SHAPES, load
from fedsonar.model.loading import EMBEDDED


@pytest.mark.parametrize("name", SHAPES)
def test_counts_and_widths_are_those_of_the_model(name):
    shape = SHAPES[name]
    with torch.device("meta"):
        model = LlamaForCausalLM(shape.config())
    assert shape.weights == sum(p.numel() for p in model.parameters() if p.dim() == 2)
    for layer, width in shape.linears().items():
        module = model.model.layers[0].get_submodule(layer)
        assert width == (module.in_features, module.out_features)


def test_the_embedded_shape_is_the_shipped_one():
    shipped, shape = AutoConfig.from_pretrained(EMBEDDED), SHAPES["embedded"].config()
    for key in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                "num_key_value_heads", "tie_word_embeddings", "eos_token_id", "pad_token_id"):  # fmt: skip
        assert getattr(shape, key) == getattr(shipped, key)


def test_shapes_are_about_as_large_as_their_names():
    millions = {"15m": 15, "135m": 135, "1b": 1236, "7b": 6738}
    assert {name: round(SHAPES[name].weights / 1e6) for name in millions} == pytest.approx(millions, rel=0.02)


def test_weights_come_from_the_seed_alone():
    first, second, other = (load("tiny", dtype="float32", device="cpu", seed=seed) for seed in (1, 1, 2))
    weight = "model.layers.1.mlp.up_proj.weight"
    assert torch.equal(first.get_parameter(weight), second.get_parameter(weight))
    assert not torch.equal(first.get_parameter(weight), other.get_parameter(weight))
    assert load("tiny", dtype="bfloat16", device="cpu").dtype == torch.bfloat16
    assert not any(p.requires_grad for p in first.parameters())
