"""What a screen is: how rows that do not belong are found before training, and what leaves a client for that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

import numpy as np
from jaxtyping import Bool, Float

from fedsonar.audit import Corpus, corpus
from fedsonar.data import Sample, TokenRow

if TYPE_CHECKING:
    from fedsonar.screen.features import Features
    from fedsonar.screen.threshold import Threshold

Made = TypeVar("Made")
Tables = Mapping[str, np.ndarray]
"""Arrays by name: all that a client says to the server for a screen, and all that it hears."""


@dataclass(frozen=True)
class Silo:
    """One client's rows as a screen sees them: text, tokens and what the base model makes of them, no ground truth.

    Args:
        client: The client's number.
        samples: Its rows.
        rows: The same in tokens, in the same order; none where the screen reads the text alone.
        features: What the base model makes of them, computed when it is asked for; None where there is no model,
            because the screen reads the text alone.
        tokenize: Puts changed samples into tokens as the rows were, leaving out what does not fit.
    """

    client: int
    samples: Sequence[Sample]
    rows: Sequence[TokenRow] = ()
    features: Features | None = None
    tokenize: Callable[[Sequence[Sample]], list[TokenRow]] | None = None
    _kept: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, what: Hashable, made: Callable[[], Made]) -> Made:
        """What is worked out of the rows alone, once for all passes.

        Args:
            what: Names it, and all that it hangs on besides the rows.
            made: Works it out; or makes room, a list say, for what hangs on sums that are heard.
        """
        if what not in self._kept:
            self._kept[what] = made()
        return cast(Made, self._kept[what])

    def corpus(self, key: int) -> Corpus:
        """The samples' words in columns, hashed with a key."""
        return self.once(("corpus", key), lambda: corpus(self.samples, key))


class Screen(ABC):
    """Judges every row of a federation before it trains, each client its own.

    In each pass all clients summarize their rows, the server merges the summaries, and every client hears the result.
    After the last pass each client judges its rows by itself. A screen without passes lets every client judge alone.
    Screens are frozen dataclasses; their order of rows is the silo's, and they draw nothing that is not seeded.
    """

    # Nothing is annotated at run time: it would be resolved in subclasses' modules, which may not know the names.
    if TYPE_CHECKING:
        threshold: Threshold
        """What cuts the suspicions; a parameter of every screen that does not cut by itself."""
        text_alone: ClassVar[bool]
        """Whether the samples' text is all that it reads: no tokens, no model."""
    text_alone = False

    @property
    def passes(self) -> int:
        """How many times clients summarize."""
        return 0

    @property
    def additive(self) -> bool:
        """Whether summaries may be summed before `merge` sees them: it then gets their sum alone.

        Arrays of every client, one without rows included, then have the same names, shapes and types, and integers are
        best: they are summed securely where the federation can do that.
        """
        return False

    def summarize(self, silo: Silo, heard: Sequence[Tables]) -> Tables:
        """What leaves the client in the next pass.

        Args:
            silo: The client's rows.
            heard: What the server said after each pass so far.
        """
        raise NotImplementedError(f"{type(self).__name__} has no passes")

    @property
    def epsilon(self) -> float | None:
        """The differential privacy of what leaves clients in all passes together; None where none is promised."""
        return None

    @property
    def fewest(self) -> int:
        """Clients whose summaries a pass takes: as many as it needs to make the noise of what is promised."""
        return 1

    def public(self) -> Self:
        """The screen as those know it who share none of its keys: each ``key`` is 0, those of its parts too."""
        changed: dict[str, Any] = {}
        for own in fields(cast(Any, self)):
            value = getattr(self, own.name)
            if own.name == "key":
                changed["key"] = 0
            elif isinstance(value, Screen):
                changed[own.name] = value.public()
        return cast(Self, replace(cast(Any, self), **changed)) if changed else self

    def noised(self, summary: Tables, rng: np.random.Generator) -> Tables:
        """What leaves the client of a summary: with its share of noise, where the screen promises privacy.

        Whoever carries summaries calls it once for each; what comes back is all that may be carried.

        Args:
            summary: What `summarize` said.
            rng: Of the noise. Where the promise is to hold, nobody else may know or guess its state.
        """
        del rng
        return summary

    def merge(self, summaries: Sequence[Tables], heard: Sequence[Tables]) -> Tables:
        """What the server makes of the clients' summaries of a pass, and tells every client.

        Args:
            summaries: One a client, or their sum alone where the screen is `additive`.
            heard: What it said after the passes before.
        """
        raise NotImplementedError(f"{type(self).__name__} has no passes")

    @abstractmethod
    def suspicion(self, silo: Silo, heard: Sequence[Tables]) -> Float[np.ndarray, "rows"]:
        """How suspect each of the client's rows is; more is worse, and the scale is the screen's own.

        Args:
            silo: The client's rows.
            heard: What the server said after each pass.
        """

    def flag(self, suspicion: Float[np.ndarray, "rows"], heard: Sequence[Tables]) -> Bool[np.ndarray, "rows"]:
        """Which of the client's rows leave training: what the threshold says, unless the screen hears where to cut.

        Args:
            suspicion: What `suspicion` said of them.
            heard: What the server said after each pass.
        """
        del heard
        return self.threshold.flag(suspicion)
