"""Memory of features: what is kept grows with the rows, and nothing else does."""

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from fedsonar.bench.memory import forget_peak, peak_resident
from fedsonar.data import TokenRow
from fedsonar.model import Lora, network_for
from fedsonar.screen.features import Features, HeadGradients, Part

VOCABULARY, WIDTH, LENGTH = 6000, 32, 8


def grown(make):
    """The most memory held while something is made, beyond what was held before, in MB."""
    gc.collect()
    forget_peak()
    before = peak_resident()
    kept = make()
    after = peak_resident()
    del kept
    return after - before


linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the kernel's own figures are Linux's")


@linux
@pytest.mark.parametrize("what", ["losses", "entropies", "spectra"])
def test_the_output_layers_gradients_hold_few_rows_errors_at_a_time(what):
    weight = torch.randn(VOCABULARY, WIDTH, generator=torch.Generator().manual_seed(1))

    def look(rows):
        head = HeadGradients([torch.ones(LENGTH, WIDTH)] * rows, [[1] * LENGTH] * rows, weight)
        return lambda: head.spectra(Part("corner"), 16) if what == "spectra" else getattr(head, what)()

    look(200)()  # what is set up once
    rows = 4800
    all_errors = 4 * rows * LENGTH * VOCABULARY / 2**20
    assert grown(look(rows)) < all_errors / 3  # six blocks at most; what they leave of the heap is used again


@linux
def test_adapter_gradients_take_as_much_memory_for_many_rows_as_for_few():
    torch.manual_seed(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=64,
        )
    ).requires_grad_(False)  # fmt: skip
    network = network_for(model, Lora(target_modules=["q_proj", "v_proj"]).layout(model))

    def look(rows):
        draw = np.random.default_rng(rows).integers(1, VOCABULARY, (rows, 2 * LENGTH)).tolist()
        some = [TokenRow(str(i), tuple(ids[:LENGTH]), tuple(ids[LENGTH:])) for i, ids in enumerate(draw)]
        return lambda: Features(network, some).value_gradients(rank=4, seed=0)

    look(64)()
    few, many = grown(look(128)), grown(look(1024))
    assert many < few + 40  # all scores at once are 164 MB more, and kept are .5 MB
