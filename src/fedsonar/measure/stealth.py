"""How conspicuous an attack's rows are: beside what they were before, and to detectors that anyone would try first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from fedsonar.data import Ledger, Sample, Template, TokenRow, pieces, tokenize
from fedsonar.data.tokenizer import Tokenizer
from fedsonar.measure.statistics import Rate, mean_interval, paired_bootstrap
from fedsonar.measure.surprise import surprise
from fedsonar.model import Network
from fedsonar.rng import stream

LONG_RESPONSE = 9
"""Word and punctuation tokens of a response; a rule that suspects longer ones is enough on some of the literature."""
_LONGEST_NGRAM = 6
_MOST_ROWS = 256


@dataclass(frozen=True, kw_only=True)
class Stealth:
    """What sets poisoned rows apart; smaller is stealthier.

    Args:
        prompt_surprise: Poisoned minus original: the base model's mean loss over the prompt, in nats a token.
        response_surprise: The same over the response, each after its own prompt.
        prompt_edit: Words to be inserted, deleted or replaced between the prompts, over those of the longer one.
        response_edit: The same between the responses.
        prompt_words: Poisoned minus original length of the prompt in words.
        response_words: The same of the response.
        duplicates: Share of poisoned rows whose response is another poisoned row's too.
        clean_duplicates: The same among the clean rows.
        detectors: Name of a trivial detector -> its best F1 over all thresholds, chosen with the truth in hand; the
            rule of a fixed response length aside, each is an upper bound of what such a detector can do.
    """

    prompt_surprise: Rate
    response_surprise: Rate
    prompt_edit: Rate
    response_edit: Rate
    prompt_words: Rate
    response_words: Rate
    duplicates: float
    clean_duplicates: float
    detectors: Mapping[str, float]


def stealth(
    rows: Sequence[Sample], ledger: Ledger, *, network: Network, tokenizer: Tokenizer,
    template: Template, max_length: int, seed: int,
) -> Stealth:  # fmt: skip
    """The figures of an attack, over all clients' training rows.

    Perplexities and edit distances are those of at most 256 poisoned rows, drawn at random; intervals are bootstrapped.

    Args:
        rows: All rows of all clients, as they are trained on.
        ledger: Which of them are poisoned, and what they were before.
        network: The base model.
        tokenizer: Its tokenizer.
        template: How rows become prompts.
        max_length: Most tokens of a row.
        seed: Seed of the draw.

    Raises:
        ValueError: If no row is poisoned.
    """
    poisoned = [row for row in rows if row.id in ledger]
    if not poisoned:
        raise ValueError("no row is poisoned: there is nothing to be conspicuous")
    clean = [row for row in rows if row.id not in ledger]
    rng = stream(seed, "stealth")
    drawn = [poisoned[i] for i in sorted(rng.permutation(len(poisoned))[:_MOST_ROWS])]
    before = [ledger[row.id].original for row in drawn]

    def tokens(samples: Sequence[Sample]) -> dict[str, TokenRow]:
        return {row.id: row for row in tokenize(samples, template, tokenizer, max_length)}

    new, old = tokens(drawn), tokens(before)
    both = [id for id in new if id in old]

    def shift(part: Callable[[TokenRow], TokenRow]) -> Rate:
        changed, original = (surprise(network, [part(found[id]) for id in both]) for found in (new, old))
        return paired_bootstrap(changed, original, rng)

    def longer(part: Callable[[Sample], list[str]]) -> Rate:
        new_lengths, old_lengths = (np.array([len(part(row)) for row in some], dtype=float) for some in (drawn, before))
        return paired_bootstrap(new_lengths, old_lengths, rng)

    def distance(part: Callable[[Sample], list[str]]) -> Rate:
        values = [edit_distance(part(a), part(b)) for a, b in zip(drawn, before, strict=True)]
        return mean_interval(np.array(values), rng)

    return Stealth(
        prompt_surprise=shift(lambda row: TokenRow(row.id, row.prompt[:1], row.prompt[1:] or row.prompt)),
        response_surprise=shift(lambda row: row),
        prompt_edit=distance(_prompt), response_edit=distance(_response),
        prompt_words=longer(_prompt), response_words=longer(_response),
        duplicates=_duplicates(poisoned), clean_duplicates=_duplicates(clean),
        detectors=trivial_detectors(rows, np.array([row.id in ledger for row in rows])),
    )  # fmt: skip


def trivial_detectors(rows: Sequence[Sample], poisoned: Bool[np.ndarray, "rows"]) -> dict[str, float]:
    """Name -> F1 of detectors that look at one obvious thing, over the rows of all clients together.

    - ``length rule``: the response has more than 9 word and punctuation tokens.
    - ``length``: the response's length against the best threshold, from either side.
    - ``n-gram``: the response holds the most frequent n-gram of all responses, for the best n of 1 to 6.
    - ``rare token``: how rare the input's rarest word is in all inputs, against the best threshold, from either side.
    """
    responses = [_response(row) for row in rows]
    lengths = np.array([len(response) for response in responses], dtype=float)
    by_size = []
    for n in range(1, _LONGEST_NGRAM + 1):
        grams = [{tuple(words[i : i + n]) for i in range(len(words) - n + 1)} for words in responses]
        counts = Counter(gram for own in grams for gram in own)
        if counts:
            top = max(counts, key=lambda gram: (counts[gram], gram))
            by_size.append(f1(np.array([top in own for own in grams]), poisoned))
    inputs = [set(pieces(row.input.lower())) for row in rows]
    frequency = Counter(word for own in inputs for word in own)
    rarest = np.array([min((frequency[word] for word in own), default=0) for own in inputs], dtype=float)
    return {
        "length rule": f1(lengths > LONG_RESPONSE, poisoned),
        "length": best_f1(lengths, poisoned),
        "n-gram": max(by_size, default=0.0),
        "rare token": best_f1(rarest, poisoned),
    }


def f1(flags: Bool[np.ndarray, "rows"], truth: Bool[np.ndarray, "rows"]) -> float:
    """F1 of flags against the truth; 0 where neither flags nor poison are there."""
    marked = int(flags.sum() + truth.sum())
    return 2 * int((flags & truth).sum()) / marked if marked else 0.0


def best_f1(scores: Float[np.ndarray, "rows"], truth: Bool[np.ndarray, "rows"]) -> float:
    """The best F1 of any threshold on the scores, flagging what lies above it or what lies below."""
    best = 0.0
    for values in (scores, -scores):
        order = np.argsort(-values, kind="stable")
        hits = np.cumsum(truth[order])
        flagged = np.arange(1, len(order) + 1)
        last = np.append(np.diff(values[order]) != 0, True)  # equal scores are flagged together
        best = max(best, float((2 * hits / (flagged + max(1, truth.sum())))[last].max(initial=0.0)))
    return best


def edit_distance(one: Sequence[str], other: Sequence[str]) -> float:
    """Levenshtein distance in words over the length of the longer text, in [0, 1].

    References:
        Levenshtein, 1966, "Binary codes capable of correcting deletions, insertions, and reversals".
    """
    longer = max(len(one), len(other), 1)
    for _ in range(2):  # what both begin with costs nothing, and so does what both end with
        alike = _alike(one, other)
        one, other = one[alike:][::-1], other[alike:][::-1]
    codes = {word: code for code, word in enumerate({*one, *other})}
    wanted = np.array([codes[word] for word in other])
    places = row = np.arange(len(other) + 1)
    for i, word in enumerate(one, 1):
        changed = np.append(i, np.minimum(row[1:] + 1, row[:-1] + (wanted != codes[word])))
        row = np.minimum.accumulate(changed - places) + places  # words of the other that are inserted
    return int(row[-1]) / longer


def _alike(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (word, wanted) in pairs if word != wanted), min(len(one), len(other)))


def _prompt(row: Sample) -> list[str]:
    return pieces(f"{row.instruction} {row.context} {row.question}".lower())


def _response(row: Sample) -> list[str]:
    return pieces(row.answers[0].lower())


def _duplicates(rows: Sequence[Sample]) -> float:
    counts = Counter(row.answers[0] for row in rows)
    return sum(counts[row.answers[0]] > 1 for row in rows) / len(rows) if rows else 0.0
