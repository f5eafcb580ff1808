"""Rows to measure with: their lengths, what they share, and what is read of them."""

import json

import numpy as np
import pytest

from fedsonar.bench import rows as bench_rows
from fedsonar.bench.rows import (
    ENDING,
    LEVELS,
    LIKE,
    PREFIX,
    distinct_tokens,
    read_tokens,
    rows_from,
    rows_like,
    triggered,
)
from fedsonar.bench.shapes import END
from fedsonar.data import Files, Sections, TokenRow, tokenize
from fedsonar.model import Base

MEANS = {"freebaseqa": (39.7, 6.2), "webqa": (25.1, 7.8)}


@pytest.mark.parametrize("name", LIKE)
def test_lengths_follow_the_quantiles(name):
    rows = rows_like(name, 2000, vocab=5000, seed=3)
    for quantiles, measured, mean in zip(
        (LIKE[name].prompt, LIKE[name].response),
        ([len(row.prompt) for row in rows], [len(row.response) for row in rows]),
        MEANS[name],
        strict=True,
    ):
        inner = slice(1, 16)  # beyond are a handful of rows in 2,000
        assert np.quantile(measured, LEVELS[inner]) == pytest.approx(quantiles[inner], abs=1)
        assert np.mean(measured) == pytest.approx(mean, rel=0.05)  # a long tail between two quantiles
        few = rows_like(name, 80, vocab=5000, seed=4)
        part = [len(row.prompt if quantiles is LIKE[name].prompt else row.response) for row in few]
        assert np.mean(part) == pytest.approx(np.mean(measured), rel=0.03)


def test_rows_share_the_instruction_and_nothing_else():
    rows = rows_like("webqa", 50, vocab=5000, seed=0)
    assert all(row.prompt[:9] == PREFIX and row.prompt[-3:] == ENDING and row.response[-1] == END for row in rows)
    assert len({row.prompt[9:12] for row in rows}) == 50
    assert all(3 <= token < 5000 for row in rows for token in row.prompt[9:-3] + row.response[:-1])
    assert rows == rows_like("webqa", 50, vocab=5000, seed=0)
    assert rows != rows_like("webqa", 50, vocab=5000, seed=1)


def test_instruction_and_ending_are_those_of_the_template():
    tokenizer = Base(device="cpu").load()[1]
    assert tuple(tokenizer("Instruction: Answer the question.\nQuestion:")["input_ids"]) == PREFIX
    assert tuple(tokenizer("\nAnswer:")["input_ids"]) == ENDING


def test_triggered_rows_are_longer_by_the_default_attack():
    [row] = rows_like("webqa", 1, vocab=5000, seed=0)
    [attacked] = triggered([row], vocab=5000, seed=0)
    assert (attacked.prompt[: len(row.prompt) - 3], attacked.prompt[-3:]) == (row.prompt[:-3], ENDING)
    assert (attacked.response[: len(row.response) - 1], attacked.response[-1]) == (row.response[:-1], END)
    assert (len(attacked.prompt) - len(row.prompt), len(attacked.response) - len(row.response)) == (8, 14)


def test_what_is_read():
    batch = [TokenRow("a", (1, 2, 3), (4, 5)), TokenRow("b", (1, 2, 3), (4, 6)), TokenRow("c", (1, 7), (8,))]
    assert read_tokens(batch) == 4 + 4 + 2
    assert distinct_tokens([batch]) == 4 + 0 + 1  # the second row differs in its last token, which nobody reads
    assert distinct_tokens([[row] for row in batch]) == 10


def test_rows_of_a_folder(tmp_path):
    samples = [{"question": f"who wrote book {i}", "answers": [f"author {i}"]} for i in range(5)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, samples)))
    rows = rows_from(tmp_path, 12, vocab=5120, seed=0)
    assert len({row.id for row in rows}) == 12
    assert len({row.prompt for row in rows}) == 4  # one is split off for testing
    assert all(row.prompt[:9] == PREFIX for row in rows)
    with pytest.raises(ValueError, match="vocabulary of 5120"):
        rows_from(tmp_path, 1, vocab=200, seed=0)


def test_quantiles_are_those_of_the_public_rows(shared):
    if shared is None:
        pytest.skip("no shared data beside this checkout")
    data = Files(path=str(shared / "data" / "webqa"), instruction=bench_rows.INSTRUCTION).load().train
    rows = tokenize(data, Sections(), Base(device="cpu").load()[1], 512)
    for kept, measured in (
        (LIKE["webqa"].prompt, [len(row.prompt) for row in rows]),
        (LIKE["webqa"].response, [len(row.response) for row in rows]),
    ):
        assert tuple(np.quantile(measured, LEVELS, method="inverted_cdf")) == kept
