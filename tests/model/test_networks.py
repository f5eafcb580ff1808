"""The ways through a model give its own losses, gradients and answers."""

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from fedsonar.data.template import TokenRow
from fedsonar.model import AdapterStack, Lora, network_for, random_adapter
from fedsonar.model import block as block_module
from fedsonar.model.compiled import CompiledLlama
from fedsonar.model.hosted import Hosted
from fedsonar.model.lean import LeanLlama

SIZES = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1,
}  # fmt: skip
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "llama scaled rope": lambda: LlamaForCausalLM(
        LlamaConfig(**SIZES, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0})
    ),
    "qwen2 with biases": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "mistral without window": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=None)),
    "mistral with window": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=6)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=61, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=0, eos_token_id=0)
    ),
}  # fmt: skip
LLAMA = {"llama", "llama scaled rope", "qwen2 with biases", "mistral without window"}

pytestmark = pytest.mark.filterwarnings("ignore:fan_in_fan_out")


def made(name):
    torch.manual_seed(5)
    model = MODELS[name]().eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))  # norms not one, biases not zero
    return model


def rows():
    draw = torch.Generator().manual_seed(2)
    shared = tuple(torch.randint(2, 61, (5,), generator=draw).tolist())
    lengths = ((3, 2), (9, 4), (1, 1))
    return [
        TokenRow(str(i), (*shared, *torch.randint(2, 61, (p,), generator=draw).tolist()),
                 tuple(torch.randint(2, 61, (r,), generator=draw).tolist()))
        for i, (p, r) in enumerate(lengths)
    ]  # fmt: skip


def losses_and_gradients(network, adapters, layout):
    """Two clients: all rows for the first, the last two for the second."""
    stack = AdapterStack(layout, adapters)
    losses = network.add_gradients(stack, [rows(), rows()[1:]])
    return losses, stack.grad


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("targets", [None, "all-linear"])
def test_the_chosen_network_has_the_model_s_losses_and_gradients(name, targets):
    model = made(name)
    layout = Lora(r=2, alpha=6, target_modules=targets).layout(model)
    adapters = torch.stack([random_adapter(layout, torch.Generator().manual_seed(seed)) for seed in (1, 2)])
    network = network_for(model, layout)
    assert isinstance(network, CompiledLlama) == (name in LLAMA)
    assert network.positions == 0
    if isinstance(network, Hosted):
        assert network.trees == (name != "mistral with window")
    expected, expected_grad = losses_and_gradients(Hosted(model, layout, trees=False), adapters, layout)
    for chosen in [network, LeanLlama(model, layout)] if name in LLAMA else [network]:
        found, grad = losses_and_gradients(chosen, adapters, layout)
        assert torch.allclose(found, expected, rtol=1e-5)
        assert (grad - expected_grad).norm() < 2e-5 * expected_grad.norm()


@pytest.mark.parametrize("change", ["checkpointing", "PyTorch's attention"])
def test_saving_memory_changes_no_gradient(change, monkeypatch):
    model = made("llama")
    layout = Lora(r=2, target_modules="all-linear").layout(model)
    adapters = torch.stack([random_adapter(layout, torch.Generator().manual_seed(seed)) for seed in (1, 2)])
    expected, expected_grad = losses_and_gradients(LeanLlama(model, layout), adapters, layout)
    if change != "checkpointing":
        monkeypatch.setattr(block_module, "_KEEP_SHARES", 0)
    found, grad = losses_and_gradients(
        LeanLlama(model, layout, checkpointing=change == "checkpointing"), adapters, layout
    )
    assert torch.allclose(found, expected, rtol=1e-5)
    assert (grad - expected_grad).norm() < 1e-5 * expected_grad.norm()


def test_a_model_that_only_looks_like_llama_goes_the_hosted_way():
    model = made("llama")
    model.model.norm.register_forward_hook(lambda _, __, out: 2 * out)  # as a variant with another final scale would
    layout = Lora().layout(model)
    assert isinstance(network_for(model, layout), Hosted)


def test_a_network_that_gives_a_client_another_one_s_adapter_is_not_taken(monkeypatch):
    losses = LeanLlama.losses

    def mixed(network, factors, batch):
        return losses(network, {name: (a.flip(0), b.flip(0)) for name, (a, b) in factors.items()}, batch)

    monkeypatch.setattr(CompiledLlama, "fits", lambda _: False)
    model = made("llama")
    layout = Lora().layout(model)
    assert isinstance(network_for(model, layout), LeanLlama)
    monkeypatch.setattr(LeanLlama, "losses", mixed)
    assert isinstance(network_for(model, layout), Hosted)


def test_checkpointing_without_a_lean_path_is_refused():
    model = made("gpt2")
    with pytest.raises(ValueError, match="checkpointing needs a model of Llama's layout, and gpt2"):
        network_for(model, Lora().layout(model), checkpointing=True)


@pytest.mark.parametrize("name", ["llama", "qwen2 with biases", "gpt2"])
@pytest.mark.parametrize("slots", [3, 64])
def test_answers_are_those_of_generate_row_by_row(name, slots):
    model = made(name)
    layout = Lora(r=2, alpha=8, target_modules="all-linear").layout(model)
    adapter = random_adapter(layout, torch.Generator().manual_seed(4))
    draw = torch.Generator().manual_seed(9)
    shared = torch.randint(2, 61, (4,), generator=draw).tolist()
    prompts = [shared + torch.randint(2, 61, (n,), generator=draw).tolist() for n in (1, 7, 3, 3, 12, 2, 5, 9)]
    prompts += [prompts[2], shared]  # one twice, one the beginning of all others
    stops = frozenset(range(25))  # frequent, so that answers end at different times
    plain = Hosted(model, layout, trees=False)
    expected = [plain.answers(adapter, [prompt], limit=10, stops=stops)[0] for prompt in prompts]
    assert len({len(answer) for answer in expected}) > 1
    for network in (
        [network_for(model, layout), LeanLlama(model, layout)] if name in LLAMA else [network_for(model, layout)]
    ):
        assert network.answers(adapter, prompts, limit=10, stops=stops, together=slots) == expected
        assert network.answers(adapter, [], limit=10, stops=stops) == []


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["llama", "qwen2 with biases", "gpt2"])
def test_on_a_gpu_answers_are_those_of_the_processor(name):
    model = made(name).double()  # so that no two tokens are too close to tell
    layout = Lora(r=2, alpha=8, target_modules="all-linear").layout(model)
    adapter = random_adapter(layout, torch.Generator().manual_seed(4))
    prompts = [torch.randint(2, 61, (n,), generator=torch.Generator().manual_seed(n)).tolist() for n in range(1, 12)]
    asked = {"limit": 10, "stops": frozenset(range(25)), "together": 4}
    expected = network_for(model, layout).answers(adapter, prompts, **asked)
    assert network_for(model.cuda(), layout).answers(adapter, prompts, **asked) == expected
