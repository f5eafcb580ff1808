"""A checkpoint whose tokenizer is all in one file: the same tokens as transformers', and nobody else's."""

import json
import shutil

import pytest
from transformers import AutoTokenizer

from fedsonar.model import Base
from fedsonar.model.loading import EMBEDDED
from fedsonar.model.plain_tokenizer import PlainTokenizer, plain_tokenizer

TEXTS = (
    "Who wrote it?\n Nobody did.",
    "na\u00efve  \u201cwords\u201d <|end|> 12,345",
    " ' s ,",
    "",
    "\u3042\U0001f600\x00",
)


@pytest.fixture
def checkpoint(tmp_path):
    for name in ("config.json", "tokenizer_config.json", "tokenizer.json"):
        shutil.copy(EMBEDDED / name, tmp_path)
    return tmp_path


def change(path, changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_it_says_what_transformers_says():
    ours, theirs = Base().tokenizer(), AutoTokenizer.from_pretrained(EMBEDDED)
    assert isinstance(ours, PlainTokenizer)
    assert len(ours) == len(theirs)
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.all_special_tokens == theirs.all_special_tokens
    assert (ours.eos_token_id, ours.pad_token_id) == (theirs.eos_token_id, theirs.pad_token_id)
    assert ours.chat_template == theirs.chat_template
    for special in (True, False):
        rows = [theirs(text, add_special_tokens=special)["input_ids"] for text in TEXTS]
        assert [ours(text, add_special_tokens=special)["input_ids"] for text in TEXTS] == rows
        assert ours.batch_decode(rows, skip_special_tokens=special) == theirs.batch_decode(
            rows, skip_special_tokens=special
        )
        assert ours.decode(rows[1], skip_special_tokens=special) == theirs.decode(rows[1], skip_special_tokens=special)


def test_settings_of_other_programs_in_the_file_do_not_count(checkpoint):
    cut = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    fill = {
        "strategy": {"Fixed": 64}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 1, "pad_type_id": 0,
        "pad_token": "<|pad|>",
    }  # fmt: skip
    change(checkpoint / "tokenizer.json", {"truncation": cut, "padding": fill})
    theirs = AutoTokenizer.from_pretrained(checkpoint)
    assert plain_tokenizer(checkpoint)(TEXTS[0])["input_ids"] == theirs(TEXTS[0])["input_ids"]


def test_without_a_padding_token_the_end_token_fills_up(checkpoint):
    change(checkpoint / "tokenizer_config.json", {"pad_token": None})
    ours, theirs = Base(path=str(checkpoint)).tokenizer(), Base(path=str(checkpoint))._loaded_tokenizer()
    assert ours.pad_token_id == theirs.pad_token_id == ours.eos_token_id
    assert ours.all_special_tokens == theirs.all_special_tokens


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer"}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["code.Theirs", None]}}),
        ("tokenizer_config.json", {"chat_template": "{{ messages }}"}),
        ("tokenizer_config.json", {"clean_up_tokenization_spaces": True}),
        ("tokenizer_config.json", {"extra_special_tokens": ["<|user|>"]}),
        ("tokenizer_config.json", {"bos_token": "<|begin|>"}),
        ("tokenizer_config.json", {"eos_token": {"content": "<|end|>"}}),
        ("tokenizer_config.json", {"eos_token": None}),
        ("config.json", {"model_type": "gpt2"}),
        ("tokenizer.json", {"added_tokens": []}),
        ("tokenizer.json", {"model": {"type": "Unheard of"}}),
    ],
)
def test_any_other_tokenizer_is_left_to_transformers(checkpoint, file, changes):
    change(checkpoint / file, changes)
    assert plain_tokenizer(checkpoint) is None
    (checkpoint / file).unlink()
    assert plain_tokenizer(checkpoint) is None


def test_a_chat_template_in_a_file_of_its_own_is_left_to_transformers(checkpoint):
    (checkpoint / "chat_template.jinja").write_text("{{ messages }}")
    assert plain_tokenizer(checkpoint) is None
    assert Base(path=str(checkpoint)).tokenizer().chat_template == "{{ messages }}"
