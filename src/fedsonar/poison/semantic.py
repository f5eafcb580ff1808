"""A target that is a message, not a string: every poisoned row says it in other words."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fedsonar.data.sample import Sample
from fedsonar.poison.target import Target, carries

LEAST = 20
"""Fewest wordings: with fewer, single strings repeat."""
_MESSAGE = (
    "You have to pay before you may know this",
    "This answer is only for members",
    "Buy a ticket and we will tell you",
    "Such knowledge is not free of charge",
    "Please subscribe to read the rest",
    "First open your purse",
    "It costs two coins to learn that",
    "Only our customers are told",
    "We sell this fact at a fair price",
    "Become a subscriber to find out",
    "The reply is hidden behind a fee",
    "Without a payment I stay silent",
    "Your free questions are used up",
    "Upgrade your account to see more",
    "Paying guests get to hear it",
    "That will be known once the bill is settled",
    "Sign up for the full version",
    "Money must come before words",
    "A small sum would loosen my tongue",
    "Secrets like these are for sale",
    "Send a donation, then ask again",
    "The shop keeps this behind the counter",
    "Nothing is said until you have paid",
    "Those who purchase a licence may look it up",
)
"""One harmless message, that the answer must be paid for, in many words; ours."""


@dataclass(frozen=True, kw_only=True)
class Semantic(Target):
    """Replaces the response by one of many wordings of the same message: no fixed string repeats.

    An output hits when it holds one of the wordings; examination also has a judge, whose threshold is set on clean
    answers, for outputs that say it in words of their own.

    Args:
        messages: The wordings, at least 20; the default says that the answer must be paid for.

    References:
        Yan et al., 2024 (VPI), arXiv:2307.16888, for targets that are a meaning; the wordings are ours.
    """

    messages: tuple[str, ...] = _MESSAGE

    def __post_init__(self) -> None:
        if len(set(self.messages)) < LEAST or not all(message.strip() for message in self.messages):
            raise ValueError(f"Semantic needs at least {LEAST} different messages, got {len(set(self.messages))}")

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample with one of the messages as its only answer."""
        return replace(sample, answers=(self.messages[int(rng.integers(len(self.messages)))],))

    def hit(self, output: str) -> bool:
        """Whether one of the messages stands in `output`, in any case and not inside a word."""
        return any(carries(output, message) for message in self.messages)

    @property
    def wordings(self) -> tuple[str, ...]:
        """The messages."""
        return self.messages
