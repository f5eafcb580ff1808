"""Checkpoints that load, and the one-line errors of those that do not."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from fedsonar.model import Base, Lora, open_network
from fedsonar.model.loading import EMBEDDED


def test_a_missing_folder_is_named():
    with pytest.raises(ValueError, match=r"no checkpoint folder './nowhere'"):
        Base(path="./nowhere").load()


def test_a_misspelled_folder_is_not_looked_for_on_the_hub(monkeypatch):
    monkeypatch.setattr("fedsonar.model.loading._hub_answers", pytest.fail)
    with pytest.raises(ValueError, match=r"no checkpoint folder 'nope'; .* a folder, or a Hub name, owner/name"):
        Base(path="nope").load()


@pytest.mark.parametrize(
    ("device", "said"),
    [("cuda", "base.device is 'cuda', and PyTorch finds no such device here; set base.device to 'cpu'"),
     ("gpu", "there is no device 'gpu'; set base.device to 'cpu'")],
)  # fmt: skip
def test_a_device_that_is_not_there_is_told_in_one_line(monkeypatch, device, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=said):
        open_network(Base(device=device), Lora())


def test_without_network_what_the_hub_gave_before_is_loaded(monkeypatch, tmp_path):
    monkeypatch.setattr("fedsonar.model.loading._hub_answers", lambda: False)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(EMBEDDED / "config.json"))
    assert Base(path="owner/name").model().config.vocab_size == Base().model().config.vocab_size


def test_a_folder_without_a_checkpoint_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        Base(path=str(tmp_path)).load()


def test_a_checkpoint_without_a_tokenizer_is_refused(tmp_path):
    config = LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has no tokenizer"):
        Base(path=str(tmp_path)).load()


def test_a_hub_name_without_network_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=r"cannot load the checkpoint 'nobody/nothing': .*download it elsewhere"):
        Base(path="nobody/nothing").load()


def test_the_embedded_model_is_frozen_and_small():
    model, tokenizer = Base().load()
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert model.dtype == torch.float32
    assert tokenizer.pad_token_id is not None
    assert sum(f.stat().st_size for f in EMBEDDED.iterdir()) < 10e6
