"""Layouts as PEFT chooses them, adapters in PEFT's format, and the stacked forward pass."""

import json
import os

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from fedsonar.model import Base, Layout, Lora, Site, initial_adapter, load_adapter, random_adapter, save_adapter
from fedsonar.model.hosted import plugged_into
from fedsonar.model.stack import alone

pytestmark = pytest.mark.filterwarnings("ignore:fan_in_fan_out")


def llama():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2
    )
    return LlamaForCausalLM(config).eval()


def gpt2():
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_positions=32)).eval()


def drawn(layout, seed=1):
    return random_adapter(layout, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("make", "targets", "kinds"),
    [
        (llama, None, {"q_proj", "v_proj"}),
        (llama, ["o_proj", "up_proj"], {"o_proj", "up_proj"}),
        (llama, "all-linear", {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
        (gpt2, None, {"c_attn"}),
    ],
)
def test_sites_are_the_modules_that_peft_adapts(make, targets, kinds):
    lora = Lora(target_modules=targets)
    layout = lora.layout(make())
    assert {site.kind for site in layout.sites} == kinds
    adapted = get_peft_model(make(), lora.peft_config())
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert layout.dim == trained
    assert layout.scale == 2.0


def test_unknown_target_modules_list_the_candidates():
    with pytest.raises(ValueError, match=r"'query'.*choose among down_proj, .*q_proj, .*all-linear"):
        Lora(target_modules=["query"]).layout(llama())


@pytest.mark.parametrize("make", [llama, gpt2, lambda: Base().skeleton()])
@pytest.mark.parametrize("others", [[], ["c_attn", "q_proj"]])
def test_the_output_layer_takes_no_adapter(make, others):
    with pytest.raises(
        ValueError, match=r"target module lm_head is the output layer.*choose among .*(q_proj|c_attn)"
    ) as told:
        Lora(target_modules=[*others, "lm_head"]).layout(make())
    assert "lm_head" not in str(told.value).split("choose among")[1]
    assert "\n" not in str(told.value)


def test_factors_are_views_in_site_order():
    layout = Layout((Site("x.a", 3, 2, 0), Site("x.b", 2, 2, 10)), rank=2, scale=1.0)
    flat = torch.arange(18.0)
    (first, a, b), (second, c, d) = layout.factors(flat)
    assert (layout.dim, first.kind, second.kind) == (18, "a", "b")
    assert a.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert b.tolist() == [[6, 7], [8, 9]]
    assert c.tolist() == [[10, 11], [12, 13]]
    assert d.tolist() == [[14, 15], [16, 17]]
    d[0, 0] = -1
    assert flat[14] == -1


def test_a_fresh_adapter_changes_nothing_and_is_distributed_as_peft_s():
    model, lora = llama(), Lora(r=8, target_modules="all-linear")
    layout = lora.layout(model)
    flat = initial_adapter(layout, torch.Generator().manual_seed(0))
    for site, a, b in layout.factors(flat):
        assert b.abs().max() == 0
        assert a.abs().max() <= site.in_features**-0.5
        assert a.std() == pytest.approx(site.in_features**-0.5 / 3**0.5, rel=0.2)
    ids = torch.arange(6)[None]
    before = model(ids).logits
    with plugged_into(model, layout, alone(layout, flat, torch.float32)):
        assert torch.equal(model(ids).logits, before)


@pytest.mark.parametrize("make", [llama, gpt2])
def test_each_group_of_rows_sees_its_own_adapter(make, tmp_path):
    model, lora = make(), Lora(r=2, alpha=6)
    layout = lora.layout(model)
    adapters = torch.stack([drawn(layout, seed) for seed in range(3)])
    ids = torch.randint(50, (6, 7), generator=torch.Generator().manual_seed(0))
    with plugged_into(model, layout, {site.name: (a, b) for site, a, b in layout.factors(adapters)}):
        stacked = model(ids).logits
    for k in range(3):
        save_adapter(tmp_path / str(k), adapters[k], layout, lora, "base")
        alone = PeftModel.from_pretrained(make(), str(tmp_path / str(k)))
        expected = alone(ids[2 * k : 2 * k + 2]).logits
        assert torch.allclose(stacked[2 * k : 2 * k + 2], expected, atol=1e-5)


@pytest.mark.parametrize("make", [llama, gpt2])
def test_adapters_survive_the_way_through_peft_s_format(make, tmp_path):
    lora = Lora(r=2, alpha=4, target_modules=None)
    layout = lora.layout(make())
    flat = drawn(layout)
    save_adapter(tmp_path, flat, layout, lora, "some/base")
    assert torch.equal(load_adapter(tmp_path, layout), flat)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"] == "some/base"


def test_an_adapter_that_cannot_be_written_leaves_the_one_before_as_it_was(tmp_path, monkeypatch):
    lora = Lora(r=2, alpha=4)
    layout = lora.layout(llama())
    save_adapter(tmp_path, drawn(layout), layout, lora, "b")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        save_adapter(tmp_path, drawn(layout, seed=2), layout, lora, "c")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_adapters_that_do_not_fit_are_refused(tmp_path):
    lora = Lora(r=2, alpha=4)
    layout = lora.layout(llama())
    with pytest.raises(ValueError, match="holds no readable PEFT adapter"):
        load_adapter(tmp_path, layout)
    save_adapter(tmp_path, drawn(layout), layout, lora, "b")
    with pytest.raises(ValueError, match=r"has r=2 .*expected r=3"):
        load_adapter(tmp_path, Lora(r=3, alpha=6).layout(llama()))
    with pytest.raises(ValueError, match=r"has no .*down_proj.*|has no .*k_proj"):
        load_adapter(tmp_path, Lora(r=2, alpha=4, target_modules="all-linear").layout(llama()))
    with pytest.raises(ValueError, match="also adapts"):
        load_adapter(tmp_path, Lora(r=2, alpha=4, target_modules=["q_proj"]).layout(llama()))


@pytest.mark.parametrize(
    "change",
    [{"peft_type": "IA3"}, {"use_dora": True}, {"alpha_pattern": {"q_proj": 64}}, {"rank_pattern": {"v_proj": 2}}],
    ids=str,
)
def test_adapters_that_are_more_than_lora_are_refused(change, tmp_path):
    lora = Lora(r=2, alpha=4)
    layout = lora.layout(llama())
    save_adapter(tmp_path, drawn(layout), layout, lora, "b")
    file = tmp_path / "adapter_config.json"
    config = json.loads(file.read_text()) | {"alpha_pattern": {}, "rank_pattern": {}}  # as PEFT writes them
    file.write_text(json.dumps(config))
    assert load_adapter(tmp_path, layout).shape == (layout.dim,)
    file.write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=r"is no plain LoRA adapter.*alpha_pattern"):
        load_adapter(tmp_path, layout)


def test_a_rank_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Lora(r=0)
