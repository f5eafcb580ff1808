"""The client's side of a screen: summaries leave it, the verdict on its rows stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from jaxtyping import Bool

from fedsonar.flower import secure, tables
from fedsonar.flower.secure.client import RECORD as SUM
from fedsonar.flower.secure.client import refused
from fedsonar.flower.told_once import told
from fedsonar.screen import Screen, Silo, Tables, judge

RECORD = "fedsonar.screen"
"""The record of a message that asks for a summary or a verdict."""
HEARD = "fedsonar.heard."
"""With a number: the record of what the server said after that pass."""
SUMMARY = "fedsonar.summary"
"""The record of a client's tables."""
VERDICT = "fedsonar.verdict"
"""The record in a client's state that says which rows it leaves out."""


@dataclass(frozen=True, kw_only=True)
class ScreenClient:
    """Answers a server's questions for a screen.

    The client goes by a screen of its own and refuses a server that listens by another. Of an additive screen it gives
    no summary but into a secure sum.

    Args:
        screen: What judges the rows.
        silo: The client's rows; asked for with every summary, so it should keep what is slow.
        secure: Whether additive summaries are given into secure sums alone.
        stamp: Tells the rows from other ones; kept with the verdict on them.
    """

    screen: Screen
    silo: Callable[[Context], Silo]
    secure: bool = True
    stamp: tuple[int, ...] = ()

    @staticmethod
    def is_asked(message: Message) -> bool:
        """Whether a message is for a screen."""
        return message.has_content() and (RECORD in message.content or SUM in message.content)

    def answer(self, message: Message, context: Context) -> Message:
        """The reply to such a message; one that cannot be answered is refused with the reason."""
        if SUM in message.content:
            summary = partial(self._summary, message, context, into_sum=True)
            return secure.answer(message, context, summary, self.screen.fewest)
        try:
            asked = cast(ConfigRecord, message.content[RECORD])
            if asked.get("ask") == "verdict":
                answer = self._judge(message, context)
            else:
                answer = RecordDict({SUMMARY: tables.write(self._summary(message, context, into_sum=False))})
        except secure.RefusalError as refusal:
            answer = refused(refusal)
        return Message(answer, reply_to=message)

    def _summary(self, message: Message, context: Context, *, into_sum: bool) -> Tables:
        heard = self._heard(message)
        name = type(self.screen).__name__
        if len(heard) >= self.screen.passes:
            raise secure.RefusalError(f"{name} has {self.screen.passes} passes, and all were heard")
        if into_sum and not self.screen.additive:
            raise secure.RefusalError(f"summaries of {name} do not add up")
        if self.secure and self.screen.additive and not into_sum:
            raise secure.RefusalError(f"summaries of {name} add up, so this client gives them into secure sums alone")
        return told(context, self.screen, self.screen.summarize(self.silo(context), heard), heard)

    def _judge(self, message: Message, context: Context) -> RecordDict:
        heard = self._heard(message)
        if len(heard) != self.screen.passes:
            raise secure.RefusalError(f"a verdict takes {self.screen.passes} passes, and {len(heard)} were heard")
        flagged = judge(self.screen, self.silo(context), heard).flagged
        context.state[VERDICT] = tables.write(
            {"flagged": np.asarray(flagged, dtype=bool), "stamp": np.asarray(self.stamp, dtype=np.int64)}
        )
        return RecordDict({RECORD: ConfigRecord({"rows": int((~flagged).sum())})})

    def _heard(self, message: Message) -> list[Tables]:
        asked = message.content.get(RECORD)
        if not isinstance(asked, ConfigRecord):
            raise secure.RefusalError(f"no record {RECORD}, which says what to add up")
        if asked.get("screen") != (public := repr(self.screen.public())):
            raise secure.RefusalError(f"this client listens by {public}, not by {str(asked.get('screen'))[:200]}")
        try:
            count = int(cast(Any, asked["passes"]))
            return [tables.read(message.content[f"{HEARD}{number}"]) for number in range(1, count + 1)]
        except (KeyError, TypeError, ValueError) as error:
            raise secure.RefusalError(f"what was heard cannot be read ({error})") from error


def flagged(context: Context) -> Bool[np.ndarray, "rows"]:
    """Which of its rows this client leaves out.

    Raises:
        ValueError: If they were not judged.
    """
    verdict = context.state.get(VERDICT)
    if not isinstance(verdict, ArrayRecord):
        raise ValueError(
            "no verdict on this client's rows: the server has to listen before it trains (see WithScreen), and this "
            "client has to have kept its state since"
        )
    return np.asarray(verdict["flagged"].numpy(), dtype=bool)


def kept(context: Context, rows: Any, stamp: tuple[int, ...] = ()) -> Any:
    """The rows that are left to train on: of a `datasets.Dataset` a selection, of any other sequence a list.

    Args:
        context: The client's, as its train function gets it.
        rows: As many as were judged, in the same order.
        stamp: That of the `ScreenClient` that judged them.

    Raises:
        ValueError: If they were not judged, are not as many, or have another stamp.
    """
    out = flagged(context)
    if np.asarray(cast(ArrayRecord, context.state[VERDICT])["stamp"].numpy()).tolist() != list(stamp):
        raise ValueError("the rows have changed since they were judged; they are judged again before the next round")
    if len(out) != len(rows):
        raise ValueError(f"{len(rows)} rows, and {len(out)} were judged: screen and training must read the same rows")
    places = np.flatnonzero(~out).tolist()
    return rows.select(places) if hasattr(rows, "select") else _picked(rows, places)


def _picked(rows: Sequence[Any], places: Sequence[int]) -> list[Any]:
    return [rows[place] for place in places]
