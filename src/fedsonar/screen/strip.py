"""STRIP: answers that stay as sure as they were whatever happens to the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from fedsonar.data import Sample, TokenRow
from fedsonar.rng import stream
from fedsonar.screen.features import Features
from fedsonar.screen.screen import Screen, Silo, Tables
from fedsonar.screen.threshold import Threshold, Top
from fedsonar.screen.tuning import Tuning

_TOGETHER = 512
"""So many disturbed rows are read before their states are let go."""


@dataclass(frozen=True, kw_only=True)
class Strip(Screen):
    """Suspects rows whose response the model is sure of even when half of the input's words are another row's.

    In each of `repeats` copies of a row, ``floor(share W)`` of its input's W words, at places drawn at random, become
    words drawn from the input of another row of the same client. The suspicion is minus the mean, over copies, of

    - ``entropy``: how unsure the model is of the response's first `tokens` tokens, each after those before it: what the
      published method takes of a classifier's labels;
    - ``loss`` (ours): its loss on the whole response.

    STRIP hears a backdoor that the model has learned, so it tunes one first. The published threshold is the entropy
    below which 1 % of clean held-out inputs lie; a client has no rows that are known to be clean, so that a share
    of them is flagged (ours).

    Args:
        measure: ``entropy`` or ``loss``.
        repeats: Copies of each row.
        share: Of the input's words that are replaced.
        tokens: Response tokens whose entropy counts.
        tuning: The training on the client's rows that the backdoor is learned in; ours, short and by LoRA.
            ``Tuning(epochs=0)`` looks with the round's model as it is.
        threshold: Of minus the entropy or loss, in nats a token.
        seed: Of the disturbances.

    References:
        Gao et al., 2019, "STRIP: a defence against trojan attacks on deep neural networks", arXiv:1902.06531,
        section 4; Gao et al., 2021, "Design and evaluation of a multi-domain trojan detection method",
        arXiv:1911.10312, for words, with half of them replaced. Generation, and donors from the rows themselves, are
        ours.
    """

    measure: Literal["entropy", "loss"] = "entropy"
    repeats: int = 5
    share: float = 0.5
    tokens: int = 1
    tuning: Tuning = field(default_factory=Tuning)
    threshold: Threshold = field(default_factory=lambda: Top(share=0.1))
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("repeats", "tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share}")

    def suspicion(self, silo: Silo, heard: Sequence[Tables]) -> Float[np.ndarray, "rows"]:
        """Minus the entropies or losses; see `Screen.suspicion`.

        Raises:
            ValueError: If there is no model, or none of a row's disturbed copies fits into it.
        """
        del heard
        if silo.features is None or silo.tokenize is None:
            raise ValueError(f"client {silo.client}'s rows come without a model; Strip needs one that answers them")
        features = self.tuning.tuned(silo.features, silo.client)
        copies = [
            replace(copy, id=f"{place} {number}")
            for place, own in enumerate(self.disturbed(silo)) for number, copy in enumerate(own)
        ]  # fmt: skip
        rows = silo.tokenize(copies)
        owner = np.array([int(row.id.split()[0]) for row in rows], dtype=int)
        counts = np.bincount(owner, minlength=len(silo.samples))
        if not counts.all():
            raise ValueError(
                f"row {silo.samples[int(counts.argmin())].id} is too long once disturbed; raise max_length"
            )
        found: list[float] = []
        for start in range(0, len(rows), _TOGETHER):
            some = [self._asked(row) for row in rows[start : start + _TOGETHER]]
            head = Features(features.network, some, features.adapter).head
            found += (head.entropies() if self.measure == "entropy" else head.losses()).tolist()
        return -np.bincount(owner, weights=found, minlength=len(counts)) / counts

    def disturbed(self, silo: Silo) -> list[list[Sample]]:
        """Each row's copies, with words of other rows in their inputs."""
        words = [sample.input.split() for sample in silo.samples]
        made = []
        for place, (sample, own) in enumerate(zip(silo.samples, words, strict=True)):
            rng = stream(self.seed, "screen/strip", silo.client, place)
            copies = []
            for _ in range(self.repeats):
                donor = words[(place + 1 + int(rng.integers(max(1, len(words) - 1)))) % len(words)]
                text = list(own)
                for i in rng.permutation(len(own))[: int(self.share * len(own))] if donor else ():
                    text[i] = donor[int(rng.integers(len(donor)))]
                copies.append(sample.with_input(" ".join(text)))
            made.append(copies)
        return made

    def _asked(self, row: TokenRow) -> TokenRow:
        return row if self.measure == "loss" else replace(row, response=row.response[: self.tokens])
