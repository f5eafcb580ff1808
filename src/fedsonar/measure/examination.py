"""What the averaged model has learnt: its answers on clean and on triggered test rows, scored."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from fedsonar.data.sample import Sample
from fedsonar.data.template import Template, TokenRow, tokenize
from fedsonar.data.tokenizer import Tokenizer
from fedsonar.measure.attack import AttackScores, score_attack
from fedsonar.measure.generation import generate
from fedsonar.measure.judge import Judge
from fedsonar.measure.statistics import Rate
from fedsonar.measure.text import AnswerScores, score_answers
from fedsonar.model import Network
from fedsonar.poison import Attack, near_misses, triggered
from fedsonar.rng import stream

_AUTO_LIMIT = 256


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How the model is examined after a round.

    Args:
        rows: Test rows without the trigger, drawn at random once; 0 for all of them. As many are asked with the
            trigger: the same ones as far as it can be planted in them, and those that carry it where it is natural.
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
        near_outputs: Answers to rows with parts of the trigger; empty for triggers without parts.
    """

    answers: AnswerScores
    accuracy: Rate
    outputs: list[str]
    attack: AttackScores | None
    attacked_outputs: list[str]
    near_outputs: list[str]


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
        tokenizer: Tokenizer,
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
        order = [test[i] for i in stream(seed, "evaluation/rows").permutation(len(test))]
        place = {sample.id: i for i, sample in enumerate(test)}

        def drawn(samples: list[Sample]) -> list[Sample]:
            return sorted(samples[: options.rows or len(samples)], key=lambda sample: place[sample.id])

        clean = drawn([s for s in order if attack is None or not attack.trigger.present(s)])
        self.samples, self.rows = self._asked(clean, template, max_length)
        if not self.rows:
            what = f"none of {len(clean)} test rows fits into {max_length} tokens; raise max_length"
            raise ValueError(
                what if clean else "every test row carries the trigger: there is none to be answered right"
            )
        self.attacked_samples: list[Sample] = []
        self.attacked_rows: list[TokenRow] = []
        self.near_samples: list[Sample] = []
        self.near_rows: list[TokenRow] = []
        self._eligible: list[int] = []
        self.judge: Judge | None = None
        if attack is not None:
            sources = drawn([s for s in order if attack.eligible(s)])
            self.attacked_samples, self.attacked_rows = self._asked(
                triggered(sources, attack, seed), template, max_length
            )
            near = list(near_misses(sources, attack, seed))
            self.near_samples, self.near_rows = self._asked(near, template, max_length)
            self._eligible = [i for i, sample in enumerate(self.samples) if attack.target.eligible(sample)]
            if not self.attacked_rows:
                raise ValueError(
                    "no test row can carry the attack: none has the trigger or a place for it, all answers already hit "
                    "the target, or rows are too long"
                )
            if wordings := attack.target.wordings:
                self.judge = Judge.calibrated(wordings, [self.samples[i].answers[0] for i in self._eligible])
        self.metric = self._metric()
        self.max_new_tokens = self._limit()

    def _asked(self, samples: list[Sample], template: Template, max_length: int) -> tuple[list[Sample], list[TokenRow]]:
        """The samples that fit, and their tokens."""
        rows = tokenize(samples, template, self.tokenizer, max_length)
        by_id = {sample.id: sample for sample in samples}
        return [by_id[row.id] for row in rows], rows

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

    def examine(
        self, adapter: Float[Tensor, "dim"], hit_before: Bool[np.ndarray, "rows"] | None = None,
        answers: Callable[..., list[list[int]]] | None = None,
    ) -> Examination:  # fmt: skip
        """The scores of the base model with `adapter`.

        Args:
            adapter: The adapter.
            hit_before: Triggered rows that the model hit before any tuning.
            answers: A way of answering instead of the network's own; see `Network.answers`.
        """
        # All at once: a triggered prompt often begins like its clean one.
        rows = [*self.rows, *self.attacked_rows, *self.near_rows]
        said = generate(
            self.network,
            self.tokenizer,
            adapter,
            rows,
            max_new_tokens=self.max_new_tokens,
            batch_size=self.options.batch_size,
            answers=answers,
        )
        first, second = len(self.rows), len(self.rows) + len(self.attacked_rows)
        outputs, attacked, near = said[:first], said[first:second], said[second:]
        scored = score_answers(outputs, self.samples)
        rates = {"emr": scored.entity_rate, "exact": scored.exact_rate, "label": scored.label_rate}
        attack = None
        if self.attack is not None:
            before = self.hits(attacked) if hit_before is None else hit_before
            attack = score_attack(
                attacked, [outputs[i] for i in self._eligible], self.attack.target.hit, before, near_misses=near,
                judge=self.judge,
            )  # fmt: skip
        return Examination(scored, rates[self.metric](), outputs, attack, attacked, near)
