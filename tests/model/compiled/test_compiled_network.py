"""The compiled path, wherever the adapters lie and whatever the type, against the model's own forward pass."""

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from fedsonar.data.template import TokenRow
from fedsonar.model import AdapterStack, Lora, random_adapter
from fedsonar.model.compiled import CompiledLlama
from fedsonar.model.compiled import room as room_module
from fedsonar.model.compiled.linear import AdaptedLinear
from fedsonar.model.hosted import Hosted
from fedsonar.model.lean import LeanLlama

SIZES = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1,
}  # fmt: skip
SITES = {
    "upper layers": r".*\.[12]\.(self_attn|mlp)\..*_proj",
    "last layer": r".*\.2\.(self_attn|mlp)\..*_proj",
    "lowest layer": r".*\.0\.self_attn\.q_proj",
    "two layers apart": r".*\.(0\.mlp\.gate|2\.self_attn\.o)_proj",
    **{
        f"{kind} of layer {layer}": rf".*\.{layer}\..*\.{kind}_proj"
        for layer in (1, 2)
        for kind in ("q", "k", "v", "o", "gate", "up", "down")
    },
    "o and up of layer 1": r".*\.1\..*\.(o|up)_proj",
    "q and down of layer 2": r".*\.2\..*\.(q|down)_proj",
}
"""Where the adapters lie, as PEFT reads it: the backward pass ends at the lowest of them."""


def made(**changes):
    torch.manual_seed(5)
    model = LlamaForCausalLM(LlamaConfig(**SIZES | changes)).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))  # norms not one
    return model


def rows():
    """Rows that begin alike, one of them longer than a kernel takes at a time, one within another."""
    draw = torch.Generator().manual_seed(2)

    def tokens(count):
        return tuple(torch.randint(2, 61, (count,), generator=draw).tolist())

    shared = tokens(6)
    made = [TokenRow(str(i), shared + tokens(p), tokens(r)) for i, (p, r) in enumerate([(3, 2), (20, 9), (1, 1)])]
    return [*made, TokenRow("in", made[1].prompt[:10], tokens(2)), TokenRow("apart", tokens(4), tokens(20))]


def adapters_for(layout, dtype=torch.float32):
    return torch.stack([random_adapter(layout, torch.Generator().manual_seed(seed)) for seed in (1, 2, 3)]).to(dtype)


def step(network, adapters, **options):
    """Two clients with some rows in common, and an adapter that has none."""
    stack = AdapterStack(network.layout, adapters)
    losses = network.add_gradients(stack, [rows(), rows()[2:]], **options)
    assert stack.grad[2].eq(0).all()
    return losses, stack.grad[:2]


def close(found, expected, tolerance):
    """Losses, and the gradients of every client and site."""
    (losses, grad), (expected_losses, expected_grad) = found, expected
    assert torch.allclose(losses.to(expected_losses.dtype), expected_losses, rtol=tolerance)
    apart = (grad.to(expected_grad.dtype) - expected_grad).norm(dim=1)
    assert (apart < 2 * tolerance * expected_grad.norm(dim=1)).all()


@pytest.mark.parametrize("where", SITES)
def test_the_backward_pass_ends_at_the_lowest_adapter(where):
    model = made()
    layout = Lora(r=2, alpha=6, target_modules=SITES[where]).layout(model)
    adapters = adapters_for(layout)
    close(step(CompiledLlama(model, layout), adapters), step(Hosted(model, layout, trees=False), adapters), 1e-5)


@pytest.mark.parametrize(
    ("kind", "needed"), [("down", 0), ("gate", 1), ("up", 1), ("o", 3), ("q", 4), ("k", 4), ("v", 4)]
)
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_no_frozen_layer_gets_a_gradient_that_nothing_adapted_needs(kind, needed, layer, monkeypatch):
    """In the lowest adapted block only the layers behind the adapter; in the blocks above it all seven."""
    model = made()
    layout = Lora(r=2, target_modules=rf".*\.{layer}\..*\.{kind}_proj").layout(model)
    asked, inner = [], AdaptedLinear.input_gradient

    def counted(linear, *arguments, **options):
        asked.append(linear)
        inner(linear, *arguments, **options)

    monkeypatch.setattr(AdaptedLinear, "input_gradient", counted)
    step(CompiledLlama(model, layout), adapters_for(layout))
    assert len(asked) == needed + 7 * (2 - layer)


@pytest.mark.parametrize(
    "changes",
    [
        {"head_dim": 12},
        {"head_dim": 20, "num_key_value_heads": 4},
        {"num_key_value_heads": 1, "attention_bias": True, "mlp_bias": True},
        {"tie_word_embeddings": True, "num_hidden_layers": 1},
        {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 500.0}},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_models_of_other_shapes(changes):
    model = made(**changes)
    layout = Lora(r=3, alpha=6, target_modules="all-linear").layout(model)
    adapters = adapters_for(layout)
    close(step(CompiledLlama(model, layout), adapters), step(Hosted(model, layout, trees=False), adapters), 1e-5)


@pytest.mark.parametrize("rank", [1, 16, 17])
def test_adapters_of_any_rank(rank):
    model = made()
    layout = Lora(r=rank, alpha=2 * rank, target_modules="all-linear").layout(model)
    adapters = adapters_for(layout)
    close(step(CompiledLlama(model, layout), adapters), step(Hosted(model, layout, trees=False), adapters), 1e-5)


@pytest.mark.parametrize("pass_tokens", [1, 8, 30, 70])
def test_passes_of_any_size_add_up_to_the_same(pass_tokens):
    model = made()
    layout = Lora(r=2, target_modules="all-linear").layout(model)
    adapters = adapters_for(layout)
    network = CompiledLlama(model, layout)
    passes, train = [], network._train
    network._train = lambda pack, ours: (passes.append(len(pack.ids)), train(pack, ours))[1]
    expected = step(network, adapters)
    assert len(passes) == 1
    close(step(network, adapters, pass_tokens=pass_tokens), expected, 1e-5)
    assert len(passes) > 2
    assert sum(passes) == network.positions


def test_scores_some_at_a_time_give_the_same(monkeypatch):
    model = made()
    layout = Lora(r=2, target_modules="all-linear").layout(model)
    adapters = adapters_for(layout)
    many = [TokenRow(str(i), (2, 3 + i), tuple(range(2, 60))) for i in range(3)]  # more than one time's responses

    def all_of_them():
        network, stack = CompiledLlama(model, layout), AdapterStack(layout, adapters)
        losses = network.add_gradients(stack, [many, many[:1]])
        return network.room(1).scores_at_once, (losses, stack.grad[:2])

    _, expected = all_of_them()
    monkeypatch.setattr(room_module, "_SCORES", 0)
    at_once, found = all_of_them()
    assert at_once == 64
    close(found, expected, 1e-5)


def test_gradients_are_added_and_memory_is_used_again():
    model = made()
    layout = Lora(r=2, target_modules="all-linear").layout(model)
    network, stack = CompiledLlama(model, layout), AdapterStack(layout, adapters_for(layout))
    network.add_gradients(stack, [rows()])
    once = stack.grad.clone()
    network.add_gradients(AdapterStack(layout, 3 * stack.adapters), [rows()[:1], rows()])  # leaves other numbers
    network.add_gradients(stack, [rows()])
    assert torch.allclose(stack.grad, 2 * once, rtol=1e-5, atol=1e-7)


def test_a_client_without_rows_has_no_loss():
    model = made()
    layout = Lora(r=2).layout(model)
    stack = AdapterStack(layout, adapters_for(layout))
    losses = CompiledLlama(model, layout).add_gradients(stack, [rows()[:1], [], rows()[1:]])
    assert losses[1] == 0
    assert (losses[[0, 2]] > 0).all()
    assert stack.grad[1].eq(0).all()
    assert stack.grad[[0, 2]].ne(0).any(dim=1).all()


@pytest.mark.parametrize("where", ["upper layers", "o of layer 2", "q and down of layer 2"])
def test_a_model_in_float64_is_computed_in_float64(where):
    model = made().double()
    layout = Lora(r=2, alpha=6, target_modules=SITES[where]).layout(model)
    adapters = adapters_for(layout, torch.float64)
    found = step(CompiledLlama(model, layout), adapters)
    close(found, step(LeanLlama(model, layout), adapters), 1e-11)
    close(found, step(Hosted(model, layout, trees=False), adapters), 1e-5)  # whose norms are in float32


@pytest.mark.parametrize("where", ["all", "upper layers", "v of layer 1", "q of layer 2", "gate of layer 1"])
def test_a_model_in_bfloat16_is_near_the_same_weights_in_float32(where):
    model = made().bfloat16()
    exact = copy.deepcopy(model).float()
    layout = Lora(r=2, alpha=6, target_modules=SITES.get(where, "all-linear")).layout(model)
    adapters = adapters_for(layout)
    expected, expected_grad = step(Hosted(exact, layout, trees=False), adapters)
    for pass_tokens in (0, 20):
        losses, grad = step(CompiledLlama(model, layout), adapters, pass_tokens=pass_tokens)
        assert losses.dtype == grad.dtype == torch.float32
        assert torch.allclose(losses, expected, rtol=0, atol=2e-2)
        assert (torch.cosine_similarity(grad, expected_grad, dim=1) > 0.99).all()
        assert torch.allclose(grad.norm(dim=1), expected_grad.norm(dim=1), rtol=0.15)  # hosted in bfloat16 is .12 off


def test_answers_do_not_depend_on_how_prompts_are_read(monkeypatch):
    model = made()
    layout = Lora(r=2, alpha=6, target_modules="all-linear").layout(model)
    adapter = adapters_for(layout)[0]
    prompts = [row.prompt for row in rows()]
    stops = frozenset(range(10))
    plain = Hosted(model, layout, trees=False)
    expected = [plain.answers(adapter, [prompt], limit=8, stops=stops)[0] for prompt in prompts]
    for pass_tokens in (5, 25):
        monkeypatch.setattr(CompiledLlama, "pass_tokens", pass_tokens)
        assert CompiledLlama(model, layout).answers(adapter, prompts, limit=8, stops=stops, together=4) == expected
