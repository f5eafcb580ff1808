"""The operations that training needs, by hand and against PyTorch's own counter."""

import pytest
import torch
from peft import get_peft_model
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaForCausalLM

from fedsonar.bench.flops import executed_flops, needed_flops
from fedsonar.bench.shapes import Shape
from fedsonar.data import TokenRow
from fedsonar.model import Layout, Lora, Site

# Weights of a block: q 16, k 8, v 8, o 16, gate, up and down 24 each: 120.
SMALL = Shape(vocab=10, hidden=4, intermediate=6, layers=2, heads=2, kv_heads=1)
QUERIES_AND_VALUES = Layout(
    tuple(
        Site(f"model.layers.{block}.self_attn.{part}_proj", 4, width, 0)
        for block in (0, 1)
        for part, width in (("q", 4), ("v", 2))
    ),
    rank=1,
    scale=2.0,
)
# 4 tokens to read; 2 of them predict, and see 3 and 4 tokens; 1 + 2 + 3 + 4 pairs in all.
ROW = TokenRow("a", (5, 6, 7), (8, 9))


def test_one_row_by_hand():
    flops = needed_flops(SMALL, QUERIES_AND_VALUES, [ROW])
    first_forward, first_backward = 4 * 2 * 120, 4 * 2 * (16 + 24 * 3)  # nothing below q, k and v is trained
    last_forward = 4 * 2 * (8 + 8) + 2 * 2 * (16 + 16 + 24 * 3)  # keys and values of all tokens, the rest of two
    assert flops.frozen == first_forward + first_backward + 2 * last_forward
    first_adapters = 4 * (4 * 4 + 6 * 4) + 4 * (4 * 4 + 6 * 2)
    last_adapters = 2 * (6 * 4 + 6 * 4) + 4 * (6 * 4 + 6 * 2)
    assert flops.adapters == first_adapters + last_adapters
    # Five products in the first block, as its keys need no gradient, and six in the last.
    assert flops.attention == 10 * 2 * 4 * 5 + (3 + 4) * 2 * 4 * 6
    assert flops.logits == 2 * (2 + 2) * 10 * 4
    assert flops.total == 2752 + 512 + 736 + 320


def test_nothing_goes_back_below_the_first_adapter():
    upper = Layout((Site("model.layers.1.mlp.down_proj", 6, 4, 0),), rank=1, scale=1.0)
    flops = needed_flops(SMALL, upper, [ROW])
    assert flops.frozen == 4 * 2 * 120 + 4 * 2 * (8 + 8) + 2 * 2 * (16 + 16 + 24 * 3)
    assert flops.adapters == 2 * (4 * 6 + 6 * 4)
    assert flops.attention == 10 * 2 * 4 * 2 + 7 * 2 * 4 * 2


def test_executed_counts_what_was_read_and_never_padding():
    whole = needed_flops(SMALL, QUERIES_AND_VALUES, [ROW, ROW])
    half = executed_flops(SMALL, QUERIES_AND_VALUES, [ROW, ROW], 4)
    assert half.logits == whole.logits
    assert half.frozen == whole.frozen - (960 + 704) - 2 * 4 * 2 * (8 + 8)  # the predicting tokens were not shared
    assert executed_flops(SMALL, QUERIES_AND_VALUES, [ROW, ROW], 8) == whole
    assert executed_flops(SMALL, QUERIES_AND_VALUES, [ROW, ROW], 99) == whole


@pytest.mark.parametrize("lora", [Lora(r=4), Lora(r=2, target_modules="all-linear"), Lora(target_modules=["k_proj"])])
def test_counts_are_those_of_a_pass_of_peft(lora):
    shape = Shape(vocab=64, hidden=32, intermediate=48, layers=3, heads=4, kv_heads=2)
    config = shape.config()
    config._attn_implementation = "eager"  # products that the counter sees, over all pairs of tokens
    model = LlamaForCausalLM(config).requires_grad_(False)
    layout = lora.layout(model)
    row = TokenRow("a", (7,), tuple(range(3, 35)))  # every token but the last predicts: all of the last block is needed
    flops = needed_flops(shape, layout, [row])
    adapted, tokens = get_peft_model(model, lora.peft_config()), torch.tensor([row.prompt + row.response])
    with FlopCounterMode(display=False) as counter:
        cross_entropy(adapted(input_ids=tokens[:, :-1], use_cache=False).logits[0], tokens[0, 1:]).backward()
    read = row.length - 1
    pairs = 2 * read / (read + 1)  # a full square over its lower half
    assert counter.get_total_flops() == flops.frozen + flops.adapters + flops.logits + pairs * flops.attention


def test_other_layouts_are_refused():
    other = Layout((Site("transformer.h.0.attn.c_attn", 4, 12, 0),), rank=1, scale=1.0)
    with pytest.raises(ValueError, match=r"transformer\.h\.0"):
        needed_flops(SMALL, other, [ROW])
