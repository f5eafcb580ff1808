"""Weights without transformers' code: names, numbers and adapted layers are those of transformers and PEFT."""

import json
import subprocess
import sys

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from fedsonar.model import Base, Lora, random_adapter
from fedsonar.model.compiled import CompiledLlama
from fedsonar.model.skeleton import Skeleton, skeleton_of

SIZES = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 5, "pad_token_id": 1,
}  # fmt: skip
VARIANTS = {
    "plain": {},
    "tied": {"tie_word_embeddings": True},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "wide heads": {"head_dim": 16},
    "another base frequency": {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
}


def saved(folder, model=LlamaForCausalLM, config=LlamaConfig, **changes):
    torch.manual_seed(3)
    made = model(config(**{**SIZES, **changes})).eval().requires_grad_(False)
    for parameter in made.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))  # norms not one, biases not zero
    made.save_pretrained(folder)
    return made


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_skeleton_answers_and_adapts_as_the_model_it_stands_for(variant, tmp_path):
    model = saved(tmp_path, **VARIANTS[variant])
    skeleton = skeleton_of(tmp_path, torch.float32)
    assert isinstance(skeleton, Skeleton)
    expected = model.state_dict()
    assert skeleton.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in skeleton.state_dict().items())
    assert skeleton.generation_config.eos_token_id == 5
    places = torch.arange(40)[None]
    for ours, theirs in zip(
        skeleton.model.rotary_emb(torch.zeros(()), places), model.model.rotary_emb(torch.zeros(()), places), strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-6)
    lora = Lora(r=2)
    adapter = random_adapter(lora.layout(model), torch.Generator().manual_seed(1))
    prompts = [[2, 7, 9], [2, 7, 4, 4, 30]]
    answers = [
        CompiledLlama(m, lora.layout(m)).answers(adapter, prompts, limit=12, stops=frozenset({5}))
        for m in (model, skeleton)
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "targets",
    [None, "all-linear", ["o_proj", "up_proj"], ["layers.1.mlp.down_proj"], r".*\.0\.self_attn\.[qk]_proj", "none"],
)
def test_the_adapted_layers_are_those_of_peft(targets, tmp_path):
    model, lora = saved(tmp_path), Lora(r=3, target_modules=targets)
    skeleton = skeleton_of(tmp_path, torch.float32)
    if targets == "none":
        for either in (model, skeleton):
            with pytest.raises(ValueError, match=r"'none' fit no module of llama; choose among .*k_proj, o_proj"):
                lora.layout(either)
    else:
        assert lora.layout(skeleton) == lora.layout(model)


def test_weights_in_another_type_and_in_several_files(tmp_path):
    model = saved(tmp_path / "whole")
    model.save_pretrained(tmp_path / "parts", max_shard_size="20KB")
    assert len(list((tmp_path / "parts").glob("model*.safetensors"))) > 1
    skeleton = skeleton_of(tmp_path / "parts", torch.bfloat16)
    assert skeleton.dtype == torch.bfloat16
    assert torch.equal(skeleton.model.norm.weight, model.model.norm.weight.bfloat16())


@pytest.mark.parametrize("rope", [{"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}])
def test_an_extension_of_llama_is_left_to_transformers(rope, tmp_path):
    saved(tmp_path, rope_parameters=rope)
    assert skeleton_of(tmp_path, torch.float32) is None


def test_another_architecture_is_left_to_transformers(tmp_path):
    saved(tmp_path, Qwen2ForCausalLM, Qwen2Config)
    assert skeleton_of(tmp_path, torch.float32) is None


@pytest.mark.parametrize("change", [{"hidden_size": 36}, {"num_hidden_layers": 3}, {"num_hidden_layers": 1}])
def test_weights_that_do_not_fit_the_configuration_are_left_to_transformers(change, tmp_path):
    saved(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    assert skeleton_of(tmp_path, torch.float32) is None


def test_the_embedded_model_opens_without_transformers_models():
    code = (
        "import sys; from fedsonar.model import Base, Lora, open_network; network = open_network(Base(), Lora()); "
        "print(type(network).__name__, any(name.startswith('transformers') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["CompiledLlama", "False"]
    assert Base(device="cpu").skeleton() is not None
