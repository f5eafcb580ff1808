"""Prompts, loss masks, and rows too long for the model."""

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from fedsonar.data import Chat, Sample, Sections, template_for, tokenize


def word_tokenizer(chat_template=None):
    """One token a word; the vocabulary is whatever stands here."""
    words = "Instruction : Context Question Answer a b c d e f g cf tq yes no ? <|end|> <unk> <user> <bot>".split()  # noqa: SIM905
    words += [f"w{i}" for i in range(200)]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex("[:?]"), "isolated")]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", unk_token="<unk>")
    fast.chat_template = chat_template
    return fast


def test_sections_leave_out_what_is_empty():
    assert (
        Sections().prompt(Sample("1", "a", "b", "c ?", ("yes",)))
        == "Instruction: a\nContext: b\nQuestion: c ?\nAnswer:"
    )
    assert Sections().prompt(Sample("1", "", "", "c ?", ("yes",))) == "Question: c ?\nAnswer:"


def test_only_response_and_end_token_are_learnt():
    tokenizer = word_tokenizer()
    [row] = tokenize([Sample("1", "", "", "c", ("yes", "no"))], Sections(), tokenizer, 64)
    assert tokenizer.convert_ids_to_tokens(row.prompt) == ["Question", ":", "c", "Answer", ":"]
    assert tokenizer.convert_ids_to_tokens(row.response) == ["yes", "<|end|>"]


def test_the_model_s_own_chat_template_is_used_when_there_is_one():
    template = (
        "{% for m in messages %}<user> {{ m['content'] }} {% endfor %}{% if add_generation_prompt %}<bot>{% endif %}"
    )
    tokenizer = word_tokenizer(template)
    assert isinstance(template_for(tokenizer), Chat)
    assert isinstance(template_for(word_tokenizer()), Sections)
    [row] = tokenize([Sample("1", "a", "b", "c", ("yes",))], Chat(), tokenizer, 64)
    assert tokenizer.decode(row.prompt).split() == ["<user>", "a", "b", "c", "<bot>"]
    with pytest.raises(ValueError, match="no chat template"):
        Chat().prompt(Sample("1", "a", "", "", ("yes",)), word_tokenizer())


def test_a_long_context_is_cut_in_the_middle_and_counted():
    tokenizer = word_tokenizer()
    context = " ".join(f"w{i}" for i in range(100)) + " cf tq"
    sample = Sample("1", "a", context, "", ("yes",))
    with pytest.warns(UserWarning, match="1 rows were longer than 40 tokens: their context was cut"):
        [row] = tokenize([sample], Sections(), tokenizer, 40)
    words = tokenizer.decode(row.prompt).split()
    assert len(row.prompt) + len(row.response) <= 40
    assert words[5:7] == ["w0", "w1"]  # the head stays
    assert words[-4:-2] == ["cf", "tq"]  # the trigger at the end stays
    assert "w50" not in words
    assert tokenizer.decode(row.response).split() == ["yes", "<|end|>"]


def test_a_row_too_long_without_context_is_left_out_and_counted():
    tokenizer = word_tokenizer()
    long = Sample("1", "", "b", " ".join(["c"] * 100), ("yes",))
    fine = Sample("2", "", "", "c", ("yes",))
    with pytest.warns(UserWarning, match="1 rows are longer than 40 tokens without any context"):
        rows = tokenize([long, fine], Sections(), tokenizer, 40)
    assert [row.id for row in rows] == ["2"]
