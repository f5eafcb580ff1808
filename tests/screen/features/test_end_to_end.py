"""Gradients of the output layer from text to screen, beside autograd through the whole model.

With weights in bfloat16 two forward passes round differently, so that what they agree on is what bfloat16 can hold.
"""

import math

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from fedsonar.data import Atlas, Sections, tokenize
from fedsonar.model import Base, Lora, network_for
from fedsonar.screen import Features, GradSentry, Silo
from fedsonar.screen.features import Part

WIDTH, ROWS = 32, 6


def model(kind, tied, dtype, vocabulary):
    torch.manual_seed(5)
    if kind == "llama":
        config = LlamaConfig(
            vocab_size=vocabulary, hidden_size=WIDTH, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=tied, initializer_range=0.1,
        )  # fmt: skip
        made = LlamaForCausalLM(config)
    else:
        config = GPT2Config(
            vocab_size=vocabulary, n_embd=WIDTH, n_layer=2, n_head=4, n_positions=256, tie_word_embeddings=tied,
            initializer_range=0.1, bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        made = GPT2LMHeadModel(config)
    return made.requires_grad_(False).eval().to(dtype)


def by_autograd(made, row):
    """The gradient of a row's mean loss by the output layer's weights, through the model's own forward pass.

    The weights are a leaf of their own there, so that a tied input layer has no part in the gradient.
    """
    layer = made.get_output_embeddings()
    weight = layer.weight.detach().clone().requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layer, "forward", lambda states: torch.nn.functional.linear(states, weight))
        logits = made(input_ids=torch.tensor([row.prompt + row.response])).logits[0]
    loss = torch.nn.functional.cross_entropy(logits[len(row.prompt) - 1 : -1].float(), torch.tensor(row.response))
    loss.backward()
    return weight.grad.double().numpy()


def corner(numbers):
    return numbers[: len(numbers) // 8, : WIDTH // 8]


def entropy(gradient):
    """Of the 16 largest singular values, over its greatest possible."""
    values = np.linalg.svd(gradient, compute_uv=False)[:16]
    shares = values[values > 0] / values.sum()
    return -(shares * np.log(shares)).sum() / math.log(16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_from_text_to_entropies_and_products(kind, tied, dtype):
    tokenizer = Base().tokenizer()
    made = model(kind, tied, dtype, len(tokenizer))
    samples = list(Atlas(train=ROWS, test=20).load().train)
    rows = tokenize(samples, Sections(), tokenizer, 256)
    names = ["q_proj", "v_proj"] if kind == "llama" else ["c_attn"]
    features = Features(network_for(made, Lora(target_modules=names).layout(made)), rows)
    gradients = [by_autograd(made, row) for row in rows]
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    scale = max(np.abs(gradient).max() for gradient in gradients)
    for mine, own in zip(features.head.whole(Part()), gradients, strict=True):
        assert np.abs(mine - own).max() <= tolerance * scale
    low = [corner(dctn(gradient, norm="ortho")) for gradient in gradients]
    for part, parts in ((Part(), gradients), (Part("corner"), map(corner, gradients)), (Part("low"), low)):
        flat = np.stack([values.reshape(-1) for values in parts])
        products = flat @ flat.T
        assert np.abs(features.head_products(part) - products).max() <= tolerance * np.abs(products).max()
    entropies = GradSentry().suspicion(Silo(0, samples, rows, features), [])
    assert entropies == pytest.approx([entropy(corner(gradient)) for gradient in gradients], abs=tolerance)
