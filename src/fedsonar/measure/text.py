"""How well generated text answers: exact match, token F1, ROUGE-L recall, entity match, label match."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Shaped

from fedsonar.data.sample import Sample
from fedsonar.measure.statistics import Rate, mean_interval, wilson

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_ROUGE_WORDS = re.compile(r"[a-z0-9]+")
# Kana and Chinese characters stand for themselves, because their text has no spaces; other scripts go by the word.
_ANY_WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")


def normalize(text: str) -> str:
    """`text` in SQuAD's normal form: lower case, no ASCII punctuation, no a, an or the, single spaces.

    A text that holds nothing else keeps what the last step would have removed (ours), so that the labels "A" and
    "the" differ from each other and from silence.

    References:
        Rajpurkar et al., 2016, arXiv:1606.05250, section 6.1.
    """
    lower = _squeeze(text.lower())
    plain = _squeeze(lower.translate(_PUNCTUATION))
    return _squeeze(_ARTICLES.sub(" ", plain)) or plain or lower


def exact_match(output: str, answers: Sequence[str]) -> bool:
    """Whether `output` equals one of `answers`, both in normal form."""
    return normalize(output) in {normalize(answer) for answer in answers}


def label_match(output: str, answers: Sequence[str]) -> bool:
    """Whether the first line of `output` equals one of `answers`, both in normal form.

    Strict: a label inside a longer line does not count, or "not positive" would be positive.
    """
    lines = output.strip().splitlines()
    return exact_match(lines[0] if lines else "", answers)


def token_f1(output: str, answers: Sequence[str]) -> float:
    """Harmonic mean of token precision and recall in normal form, in [0, 1]; best over `answers`.

    References:
        Rajpurkar et al., 2016, arXiv:1606.05250, section 6.1.
    """
    return max(_f1(normalize(output).split(), normalize(answer).split()) for answer in answers)


def rouge_l_recall(output: str, answers: Sequence[str]) -> float:
    """Share of an answer's words that `output` holds in the same order, in [0, 1]; best over `answers`.

    This is the literature's KMR. Words are taken in the way of the rouge_score package without stemming: lower case,
    runs of [a-z0-9]; every other character separates, letters with accents too. An answer without such a word, say in
    Cyrillic or Chinese, is compared by Unicode words instead (ours), and one without any word by exact match.

    References:
        Lin, 2004, "ROUGE: A package for automatic evaluation of summaries", section 3.
    """
    return max(_recall(output, answer) for answer in answers)


def entity_match(output: str, answers: Sequence[str]) -> bool:
    """Whether `output` holds every word of one of `answers` in order: ROUGE-L recall of 1, the literature's EMR."""
    return rouge_l_recall(output, answers) == 1.0


@dataclass(frozen=True, eq=False)
class AnswerScores:
    """Scores of generated outputs, one a row, and their rates.

    Args:
        entity: `entity_match` of each row.
        exact: `exact_match` of each row.
        label: `label_match` of each row.
        recall: `rouge_l_recall` of each row.
        f1: `token_f1` of each row.
    """

    entity: Bool[np.ndarray, "rows"]
    exact: Bool[np.ndarray, "rows"]
    label: Bool[np.ndarray, "rows"]
    recall: Float[np.ndarray, "rows"]
    f1: Float[np.ndarray, "rows"]

    def __len__(self) -> int:
        return len(self.entity)

    def select(self, rows: Shaped[np.ndarray, "selected"]) -> AnswerScores:
        """The scores of some rows, given as a mask or as indices."""
        return AnswerScores(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def entity_rate(self) -> Rate:
        """EMR, the papers' clean accuracy, with its Wilson interval."""
        return wilson(int(self.entity.sum()), len(self))

    def exact_rate(self) -> Rate:
        """Exact match with its Wilson interval."""
        return wilson(int(self.exact.sum()), len(self))

    def label_rate(self) -> Rate:
        """Accuracy of labels with its Wilson interval; meaningful on classification rows only."""
        return wilson(int(self.label.sum()), len(self))

    def mean_recall(self, rng: np.random.Generator) -> Rate:
        """KMR with its bootstrap interval."""
        return mean_interval(self.recall, rng)

    def mean_f1(self, rng: np.random.Generator) -> Rate:
        """Token F1 with its bootstrap interval."""
        return mean_interval(self.f1, rng)


def score_answers(outputs: Sequence[str], samples: Sequence[Sample]) -> AnswerScores:
    """The scores of each output against its sample's answers.

    Raises:
        ValueError: If there are not as many outputs as samples, or a sample has no answer.
    """
    if len(outputs) != len(samples):
        raise ValueError(f"every sample needs one output, got {len(outputs)} outputs for {len(samples)} samples")
    for sample in samples:
        if not sample.answers:
            raise ValueError(f"sample {sample.id!r} has no answer to score against; give it at least one")

    def scores(score: Callable[[str, Sequence[str]], float]) -> list[float]:
        return [score(output, sample.answers) for output, sample in zip(outputs, samples, strict=True)]

    recall = np.array(scores(rouge_l_recall), dtype=np.float64)
    return AnswerScores(
        entity=recall == 1.0,
        exact=np.array(scores(exact_match), dtype=bool),
        label=np.array(scores(label_match), dtype=bool),
        recall=recall,
        f1=np.array(scores(token_f1), dtype=np.float64),
    )


def _squeeze(text: str) -> str:
    return " ".join(text.split())


def _f1(output: Sequence[str], answer: Sequence[str]) -> float:
    if not output or not answer:
        return float(output == answer)
    common = (Counter(output) & Counter(answer)).total()
    return 2 * common / (len(output) + len(answer))


def _recall(output: str, answer: str) -> float:
    for words in (_ROUGE_WORDS, _ANY_WORDS):
        wanted = words.findall(answer.lower())
        if wanted:
            return _common_subsequence(words.findall(output.lower()), wanted) / len(wanted)
    return float(exact_match(output, [answer]))


def _common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    lengths = [0] * (len(second) + 1)
    for left in first:
        diagonal = 0
        for index, right in enumerate(second, start=1):
            above = lengths[index]
            lengths[index] = diagonal + 1 if left == right else max(above, lengths[index - 1])
            diagonal = above
    return lengths[-1]
