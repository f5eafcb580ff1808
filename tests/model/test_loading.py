"""Checkpoints that load, and the one-line errors of those that do not."""

import json
import shutil

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from fedsonar.model import Base
from fedsonar.model.loading import EMBEDDED, _tokenizer_class


def test_a_missing_folder_is_named():
    with pytest.raises(ValueError, match=r"no checkpoint folder './nowhere'"):
        Base(path="./nowhere").load()


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


def test_a_tokenizer_that_is_named_is_the_one_that_transformers_finds():
    assert _tokenizer_class(EMBEDDED) is not AutoTokenizer
    ours, theirs = Base().tokenizer(), AutoTokenizer.from_pretrained(EMBEDDED)
    assert type(ours) is type(theirs)
    assert ours.backend_tokenizer.to_str() == theirs.backend_tokenizer.to_str()
    assert ours.init_kwargs == theirs.init_kwargs
    assert ours.special_tokens_map == theirs.special_tokens_map
    for text in ("Who wrote it?\n Nobody did.", "naïve  “words” <|end|> 12,345"):
        assert ours(text) == theirs(text)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer"}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["code.Theirs", None]}}),
        ("config.json", {"model_type": "gpt2"}),
    ],
)
def test_any_other_tokenizer_is_left_to_transformers(tmp_path, file, changes):
    for name in ("config.json", "tokenizer_config.json", "tokenizer.json"):
        shutil.copy(EMBEDDED / name, tmp_path)
    (tmp_path / file).write_text(json.dumps(json.loads((tmp_path / file).read_text()) | changes))
    assert _tokenizer_class(tmp_path) is AutoTokenizer
    (tmp_path / file).unlink()
    assert _tokenizer_class(tmp_path) is AutoTokenizer
