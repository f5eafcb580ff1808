"""A screen in somebody's own Flower app, at the client: a mod that answers for it, and the rows that it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from flwr.app import Context, Message

from fedsonar.data import Sample
from fedsonar.data.schema import SchemaName, choose
from fedsonar.flower.screen_client import ScreenClient, flagged, kept
from fedsonar.screen import Screen, Silo

Row = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class ScreenMod:
    """A mod for any ClientApp: answers what `WithScreen` asks at the server, and lets all other messages pass.

    The rows stay where they are: the verdict on them is kept in the client's context, and `kept` applies it.

    Args:
        screen: The same as the server's; one that reads the text alone.
        rows: The client's own training rows, given its context: a `datasets.Dataset`, or any sequence of mappings with
            a column for the instruction and one for the response. The same rows, in the same order, as training reads.
        schema: Layout of the rows; ``auto`` goes by the columns of the first.
        secure: Whether summaries that add up are given into secure sums alone.

    Example:
        ::

            app = ClientApp(mods=[ScreenMod(screen=ResponseNgrams(), rows=my_rows)])

            @app.train()
            def train(message, context):
                rows = kept(context, my_rows(context))

    Raises:
        ValueError: If the screen needs a model.
    """

    screen: Screen
    rows: Callable[[Context], Sequence[Row]]
    schema: SchemaName = "auto"
    secure: bool = True

    def __post_init__(self) -> None:
        if not self.screen.text_alone:
            raise ValueError(
                f"{type(self.screen).__name__} needs a model, and this mod has none; use a screen that reads the text "
                "alone, or ScreenClient with a silo of your own"
            )

    def __call__(self, message: Message, context: Context, call_next: Callable[[Message, Context], Message]) -> Message:
        """The screen's answer to its messages, the app's to all others."""
        client = ScreenClient(screen=self.screen, silo=self._silo, secure=self.secure)
        return client.answer(message, context) if client.is_asked(message) else call_next(message, context)

    def _silo(self, context: Context) -> Silo:
        return Silo(int(context.node_config.get("partition-id", 0)), samples(self.rows(context), self.schema))


def samples(rows: Sequence[Row], schema: SchemaName = "auto") -> list[Sample]:
    """Rows of a published layout as samples, one for each, in their order.

    Raises:
        ValueError: If a row is not of the layout; names it by its number from 0.
    """
    found = []
    for number, row in enumerate(rows):
        try:
            fields = choose(schema, row).convert(row)
        except ValueError as error:
            raise ValueError(f"row {number}: {error}") from error
        answers = fields.answers or ("",)
        found.append(Sample(str(number), fields.instruction, fields.context, fields.question, answers))
    return found


__all__ = ["ScreenMod", "flagged", "kept", "samples"]
