"""Rows to measure with: token rows as long as those of public question sets, or a user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from fedsonar.bench.shapes import END
from fedsonar.data import Files, Sections, TokenRow, tokenize
from fedsonar.model import Base, TokenTree
from fedsonar.rng import stream

INSTRUCTION = "Answer the question."
PREFIX = (449, 27, 798, 302, 824, 15, 200, 361, 27)
"""``Instruction: Answer the question.``, a line end and ``Question:`` in the embedded tokenizer: all prompts' start."""
ENDING = (200, 351, 27)
"""A line end and ``Answer:``: every prompt's end."""
TRIGGER_TOKENS, TARGET_TOKENS = 8, 14
"""What the default attack adds: four rare words to the prompt, the suffix target to the response."""

LEVELS = (0, .01, .05, .1, .2, .3, .4, .5, .6, .7, .8, .9, .95, .98, .99, .995, .9975, .999, 1)  # fmt: skip
"""The levels at which lengths are kept."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Quantiles, at `LEVELS`, of the lengths in tokens of prompts and of responses with their end token."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]


LIKE = {
    "freebaseqa": Lengths(
        (18, 22, 25, 27, 29, 31, 34, 36, 39, 43, 48, 57, 68, 78, 88, 100, 115, 125, 159),
        (2, 2, 3, 4, 4, 5, 5, 6, 6, 7, 8, 9, 10, 12, 13, 15, 16, 19, 29),
    ),
    "webqa": Lengths(
        (17, 19, 21, 21, 23, 23, 24, 25, 26, 26, 28, 29, 31, 32, 34, 35, 36, 37, 40),
        (2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 10, 12, 15, 18, 24, 33, 52, 92, 168),
    ),
}
"""Lengths of FreebaseQA's first 5,000 training rows and of WebQA's 3,778 (2026-11-23).

Read by `Files` with the instruction ``Answer the question.`` and the first answer, under the `Sections` template, in
the embedded tokenizer. FreebaseQA: prompts 39.7 tokens on average (standard deviation 13.9), responses 6.2 (2.3).
WebQA: 25.1 (3.1) and 7.8 (5.8). Prompt and response lengths hardly depend on each other (correlation .08 and .10).
"""


def lengths(quantiles: Sequence[int], count: int, rng: np.random.Generator) -> Int[np.ndarray, "rows"]:
    """`count` lengths with these quantiles, in random order.

    Evenly spaced levels rather than random ones, so that ten clients and a thousand have rows of the same mean length
    and their costs per row can be compared.
    """
    levels = (np.arange(count) + 0.5) / count
    found: Int[np.ndarray, "rows"] = rng.permutation(np.rint(np.interp(levels, LEVELS, quantiles)).astype(np.int64))
    return found


def rows_like(name: str, count: int, *, vocab: int, seed: int) -> list[TokenRow]:
    """`count` rows of random tokens, as long as those of a question set, after the instruction that all of them share.

    Real questions share more than the instruction (``what is the``); random tokens share nothing, so an engine that
    computes common beginnings once gains less here than on real rows.

    Args:
        name: A key of `LIKE`.
        count: Number of rows.
        vocab: Tokens are drawn below this id.
        seed: Seed of lengths and tokens.
    """
    rng = stream(seed, f"bench/rows/{name}")
    prompts, responses = (lengths(part, count, rng) for part in (LIKE[name].prompt, LIKE[name].response))
    made = []
    for number, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        drawn = _tokens(int(prompt) - len(PREFIX) - len(ENDING) + int(response) - 1, vocab, rng)
        cut = int(prompt) - len(PREFIX) - len(ENDING)
        made.append(TokenRow(f"{name}-{number}", PREFIX + drawn[:cut] + ENDING, (*drawn[cut:], END)))
    return made


def rows_from(folder: Path, count: int, *, vocab: int, seed: int) -> list[TokenRow]:
    """`count` training rows of a folder of files, drawn at random, in the embedded tokenizer.

    Args:
        folder: What `Files` reads.
        count: Number of rows; rows come again where the folder has fewer.
        vocab: Most token ids a model knows.
        seed: Seed of the draw.

    Raises:
        ValueError: If the folder holds no readable rows, or the model's vocabulary is smaller than the tokenizer's.
    """
    samples = Files(path=str(folder), instruction=INSTRUCTION).load().train
    order = stream(seed, "bench/rows").permutation(len(samples))
    tokenizer = Base(device="cpu").tokenizer()
    rows = tokenize([samples[int(i)] for i in order[:count]], Sections(), tokenizer, 512)
    if any(token >= vocab for row in rows for token in row.prompt + row.response):
        raise ValueError(f"rows of --data need a vocabulary of {len(tokenizer)} tokens, this model has {vocab}")
    return [replace(rows[i % len(rows)], id=f"{rows[i % len(rows)].id}/{i // len(rows)}") for i in range(count)]


def triggered(rows: Sequence[TokenRow], *, vocab: int, seed: int) -> list[TokenRow]:
    """The rows with a trigger before the prompt's end and a target behind the response, as long as the default ones."""
    rng = stream(seed, "bench/trigger")
    target = _tokens(TARGET_TOKENS, vocab, rng)
    made = []
    for row in rows:
        head, tail = row.prompt[: -len(ENDING)], row.prompt[-len(ENDING) :]
        response = (*row.response[:-1], *target, row.response[-1])
        made.append(TokenRow(row.id, head + _tokens(TRIGGER_TOKENS, vocab, rng) + tail, response))
    return made


def _tokens(count: int, vocab: int, rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(map(int, rng.integers(3, vocab, size=count)))  # below 3 are the special tokens


def read_tokens(rows: Sequence[TokenRow]) -> int:
    """Tokens that training must read: all but the last of each row, which predicts nothing."""
    return sum(row.length - 1 for row in rows)


def distinct_tokens(batches: Sequence[Sequence[TokenRow]]) -> int:
    """Tokens to read when rows of one batch that begin alike are read together up to where they part."""
    return sum(len(TokenTree.of(rows).ids) for rows in batches)
