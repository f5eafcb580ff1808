"""What the averaged model has learnt: its answers on clean and on triggered test rows, scored."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from fedsonar.data.sample import Sample
from fedsonar.data.template import Template, TokenRow, tokenize
from fedsonar.measure.attack import AttackScores, score_attack
from fedsonar.measure.generation import generate
from fedsonar.measure.statistics import Rate
from fedsonar.measure.text import AnswerScores, score_answers
from fedsonar.model import Network
from fedsonar.poison.plant import Attack, triggered
from fedsonar.rng import stream

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_AUTO_LIMIT = 256


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How the model is examined after a round.

    Args:
        rows: Test rows, drawn at random once; 0 for all of them. Triggered rows are made from the same ones.
        every: Examine after every so many rounds, and always after the last.
        metric: What counts as clean accuracy: ``emr``, ``exact`` or ``label``; ``auto`` takes ``label`` when few
            different answers share many rows, else ``emr``.
        max_new_tokens: Longest answer generated; 0 fits the test answers, up to 256.
        batch_size: Answers generated together, which bounds memory.
    """

    rows: int = 200
    every: int = 1
    metric: Literal["auto", "emr", "exact", "label"] = "auto"
    max_new_tokens: int = 0
    batch_size: int = 128

    def __post_init__(self) -> None:
        if self.rows < 0 or self.max_new_tokens < 0:
            raise ValueError(
                f"evaluation.rows and max_new_tokens must be 0 or more, got {self.rows} and {self.max_new_tokens}"
            )
        if self.every < 1 or self.batch_size < 1:
            raise ValueError(
                f"evaluation.every and batch_size must be 1 or more, got {self.every} and {self.batch_size}"
            )


@dataclass(frozen=True)
class Examination:
    """The scores after a round.

    Args:
        answers: Scores of the answers to clean rows.
        accuracy: Clean accuracy by the chosen metric.
        outputs: Answers to the clean rows.
        attack: Scores of the attack; None without one.
        attacked_outputs: Answers to the triggered rows; empty without an attack.
    """

    answers: AnswerScores
    accuracy: Rate
    outputs: list[str]
    attack: AttackScores | None
    attacked_outputs: list[str]


class Examiner:
    """Asks a model the same test rows after any round.

    Args:
        network: The frozen base model, ready for adapters.
        tokenizer: Its tokenizer.
        template: How rows become prompts.
        test: Test rows.
        attack: The attack whose triggered rows are asked too.
        options: What is asked and how.
        max_length: Most tokens of a row.
        seed: The experiment's seed.

    Raises:
        ValueError: If no test row fits, or `max_new_tokens` is too short for every triggered answer.
    """

    def __init__(
        self,
        network: Network,
        tokenizer: PreTrainedTokenizerBase,
        *,
        template: Template,
        test: Sequence[Sample],
        attack: Attack | None,
        options: Evaluation,
        max_length: int,
        seed: int,
    ) -> None:
        self.network, self.tokenizer = network, tokenizer
        self.attack, self.options = attack, options
        count = min(len(test), options.rows or len(test))
        chosen = [test[i] for i in sorted(stream(seed, "evaluation/rows").permutation(len(test))[:count])]
        self.rows = tokenize(chosen, template, tokenizer, max_length)
        by_id = {sample.id: sample for sample in chosen}
        self.samples = [by_id[row.id] for row in self.rows]
        if not self.rows:
            raise ValueError(f"none of {count} test rows fits into {max_length} tokens; raise max_length")
        self.attacked_rows: list[TokenRow] = []
        self.attacked_samples: list[Sample] = []
        self._eligible: list[int] = []
        if attack is not None:
            clean, attacked = triggered(self.samples, attack, seed)
            self.attacked_rows = tokenize(attacked, template, tokenizer, max_length)
            by_id = {sample.id: sample for sample in attacked}
            self.attacked_samples = [by_id[row.id] for row in self.attacked_rows]
            eligible = {sample.id for sample in clean}
            self._eligible = [i for i, sample in enumerate(self.samples) if sample.id in eligible]
            if not self.attacked_rows:
                raise ValueError(
                    "no test row can carry the attack: all answers already hit the target, or rows are too long"
                )
        self.metric = self._metric()
        self.max_new_tokens = self._limit()

    def _metric(self) -> str:
        if self.options.metric != "auto":
            return self.options.metric
        distinct = len({sample.answers[0] for sample in self.samples})
        return "label" if distinct <= 20 and 5 * distinct <= len(self.samples) else "emr"

    def _limit(self) -> int:
        longest = max(len(row.response) for row in [*self.rows, *self.attacked_rows])
        limit = self.options.max_new_tokens or min(longest, _AUTO_LIMIT)
        needed = [len(row.response) - 1 for row in self.attacked_rows]  # the end token need not be seen
        if needed and limit < min(needed):
            raise ValueError(
                f"evaluation.max_new_tokens {limit} is shorter than every triggered "
                f"answer ({min(needed)} to {max(needed)} tokens), "
                f"so the attack could never be seen; set at least {max(needed)}"
            )
        if short := sum(length > limit for length in needed):
            warnings.warn(
                f"{short} of {len(needed)} triggered answers are longer than {limit} tokens and count as misses",
                stacklevel=3,
            )
        return limit

    def hits(self, outputs: Sequence[str]) -> Bool[np.ndarray, "rows"]:
        """Which outputs carry the attack's target."""
        assert self.attack is not None
        return np.array([self.attack.target.hit(output) for output in outputs], dtype=bool)

    def examine(self, adapter: Float[Tensor, "dim"], hit_before: Bool[np.ndarray, "rows"] | None = None) -> Examination:
        """The scores of the base model with `adapter`; `hit_before` marks triggered rows hit before any tuning."""
        rows = [*self.rows, *self.attacked_rows]  # at once: a triggered prompt often begins like its clean one
        said = generate(
            self.network,
            self.tokenizer,
            adapter,
            rows,
            max_new_tokens=self.max_new_tokens,
            batch_size=self.options.batch_size,
        )
        outputs, attacked = said[: len(self.rows)], said[len(self.rows) :]
        answers = score_answers(outputs, self.samples)
        rates = {"emr": answers.entity_rate, "exact": answers.exact_rate, "label": answers.label_rate}
        attack = None
        if self.attack is not None:
            before = self.hits(attacked) if hit_before is None else hit_before
            attack = score_attack(attacked, [outputs[i] for i in self._eligible], self.attack.target.hit, before)
        return Examination(answers, rates[self.metric](), outputs, attack, attacked)
