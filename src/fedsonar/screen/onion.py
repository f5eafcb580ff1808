"""ONION: words without which the input reads better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from fedsonar.data import Sample, TokenRow
from fedsonar.model.tree import common_prefix
from fedsonar.screen.features import Features
from fedsonar.screen.screen import Screen, Silo, Tables
from fedsonar.screen.threshold import Above, Threshold

_TOGETHER = 512
"""So many texts are read before their states are let go."""
_UNLIKE = ("?", "!")
"""Texts of which one at least begins, and one ends, unlike any given text: they show what a template adds around."""


@dataclass(frozen=True, kw_only=True)
class Onion(Screen):
    """Suspects inputs that hold a word without which they are less surprising to the base model.

    Word i of an input x is worth ``PPL(x) - PPL(x without i)``; a row's suspicion is that of its worst word, 0 where
    there is one word only. The input alone is read, without instruction and context, at the place that the template
    gives a question; what the template adds around it is read first and not counted.

    The published method removes words, all with a drop of at least t, and has t = 0 until clean data say more. As a
    screen of rows that is of no use: most clean inputs have a word that they read better without. What works without
    clean data is `Outliers`, which cuts at what is usual among a client's own rows (ours).

    Args:
        nats: Take differences of log perplexity, which long and short inputs share, instead of perplexity (ours).
        threshold: Of the largest drop.

    References:
        Qi et al., 2021, "ONION: a simple and effective defense against textual backdoor attacks", arXiv:2011.10369,
        section 3. A suspicion for each row, and the base model in GPT-2's place, are ours.
    """

    nats: bool = False
    threshold: Threshold = field(default_factory=lambda: Above(value=0.0))

    def suspicion(self, silo: Silo, heard: Sequence[Tables]) -> Float[np.ndarray, "rows"]:
        """The largest drops; see `Screen.suspicion`."""
        del heard
        return np.array([max(drops, default=0.0) for drops in self.drops(silo)], dtype=float)

    def removals(self, silo: Silo, least: float = 0.0) -> list[tuple[str, ...]]:
        """The words that ONION would take out of each row's input: the evidence.

        Args:
            silo: The client's rows.
            least: The smallest drop of a word that is removed, t of the paper.
        """
        return [
            tuple(word for word, drop in zip(sample.input.split(), drops, strict=False) if drop >= least)
            for sample, drops in zip(silo.samples, self.drops(silo), strict=True)
        ]

    def drops(self, silo: Silo) -> list[list[float]]:
        """How far perplexity falls without each word of each row's input; nothing for inputs of one word."""
        words = [sample.input.split() for sample in silo.samples]
        texts = [[own, *(own[:i] + own[i + 1 :] for i in range(len(own)))] if len(own) > 1 else [] for own in words]
        surprise = iter(self._surprise(silo, [" ".join(text) for own in texts for text in own]))
        found = []
        for own in texts:
            whole, *without = (next(surprise) for _ in own) if own else (0.0,)
            found.append([whole - part for part in without])
        return found

    def _surprise(self, silo: Silo, texts: Sequence[str]) -> list[float]:
        """The base model's perplexity on each text, or its logarithm.

        Raises:
            ValueError: If there is no model, or a text is left out because it is too long.
        """
        if silo.features is None or silo.tokenize is None:
            raise ValueError(f"client {silo.client}'s rows come without a model; Onion needs one that reads them")
        different = list(dict.fromkeys(texts))  # without one of two equal neighbours a text is the same
        asked = [Sample(str(i), "", "", text, ("",)) for i, text in enumerate((*_UNLIKE, *different))]
        rows = {row.id: row.prompt for row in silo.tokenize(asked)}
        if len(rows) < len(asked):
            raise ValueError(f"client {silo.client} has inputs that are too long for the model; raise max_length")
        one, other, *prompts = (rows[sample.id] for sample in asked)
        found: list[float] = []
        for start in range(0, len(prompts), _TOGETHER):
            some = [_counted(prompt, one, other) for prompt in prompts[start : start + _TOGETHER]]
            found += Features(silo.features.network, some).losses.tolist()
        known = dict(zip(different, found if self.nats else np.exp(found).tolist(), strict=True))
        return [known[text] for text in texts]


def _counted(prompt: tuple[int, ...], one: tuple[int, ...], other: tuple[int, ...]) -> TokenRow:
    """A prompt as a row of which the text counts, and nothing that it shares with prompts of other texts."""
    before = max(1, min(common_prefix(prompt, one), common_prefix(prompt, other)))
    behind = min(common_prefix(prompt[::-1], unlike[::-1]) for unlike in (one, other))
    end = max(before + 1, len(prompt) - behind)
    return TokenRow("", prompt[:before], prompt[before:end])
