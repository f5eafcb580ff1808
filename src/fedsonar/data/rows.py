"""From raw rows to samples: what every source that reads rows has in common."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from fedsonar.collecting import no_collecting
from fedsonar.data.formats import Row
from fedsonar.data.sample import InstructionDataset, Sample
from fedsonar.data.schema import SchemaName, choose, text
from fedsonar.data.source import Source, Splits
from fedsonar.errors import SettingError
from fedsonar.rng import stream

Answer = Literal["first", "shortest", "all"]


class RawSplits(NamedTuple):
    """What a source found: a name for messages, the training rows, and the test rows if there are any."""

    name: str
    train: Sequence[Row]
    test: Sequence[Row] | None

    def by_id(self) -> dict[str, Row]:
        """The training rows by the ids that their samples have."""
        return dict(zip(_ids(self)[0], self.train, strict=True))


@dataclass(frozen=True, kw_only=True)
class RowSource(Source):
    """A source that reads raw rows; a subclass says where from.

    A sample keeps the ``id`` of its row when every row of both splits has one and no two are equal; otherwise it is
    ``<split>-<row index>``, from 0. Test rows that are split off the training rows keep their ids from there. Of a
    conversation with several answers the last is the response, the others are context, and a warning says so.

    Args:
        schema: Layout of the rows; ``auto`` goes by the columns of the first row of each split.
        source_field: Column that says where a row came from; every training row must have it, test rows may.
        answer: Which accepted answer is the training response, and so comes first: the ``first``, the ``shortest``
            that has a letter or digit, for alias lists in no particular order, or ``all`` of them with semicolons
            between, as published work on WebQA and FreebaseQA trains (test rows then keep the first). All answers stay.
        instruction: Instruction of the rows that have none.
        limit: At most this many training rows, after a test part was split off: evenly spaced, so that files in the
            order of clients, tasks or labels lose none of them; None for all.
        test_limit: At most this many test rows, evenly spaced too; None for all.
        test_fraction: Share of the training rows, in (0, 1), that is split off at random where there is no test split.
        drop_unanswered: Leave out rows without an answer, with a warning, instead of refusing them.
        seed: Seed of the split.

    Raises:
        ValueError: If an argument is out of its range.
    """

    schema: SchemaName = "auto"
    source_field: str | None = None
    answer: Answer = "first"
    instruction: str = ""
    limit: int | None = None
    test_limit: int | None = None
    test_fraction: float = 0.1
    drop_unanswered: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("schema", get_args(SchemaName)), ("answer", get_args(Answer))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown; use one of {', '.join(allowed)}")
        for name in ("limit", "test_limit"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ValueError(f"{name}={count} leaves no rows; use 1 or more, or leave it out for all rows")
        if not 0 < self.test_fraction < 1:
            raise ValueError(f"test_fraction={self.test_fraction} must lie between 0 and 1, both excluded")

    @abstractmethod
    def read(self) -> RawSplits:
        """The raw rows, none of the splits empty."""

    @no_collecting()
    def load(self) -> Splits:
        """The samples of both splits.

        Raises:
            OSError: If something cannot be read.
            ValueError: If a row cannot be used; the message says which.
        """
        raw = self.read()
        train_ids, test_ids = _ids(raw)
        train = InstructionDataset(f"{raw.name}/train", self._samples(raw.train, train_ids, strict=True))
        if raw.test is None:
            test, train = train.split(self.test_fraction, stream(self.seed, "test split"))
            test = InstructionDataset(f"{raw.name}/test", test.samples)
        else:
            test = InstructionDataset(f"{raw.name}/test", self._samples(raw.test, test_ids, strict=False))
        return Splits(_some(train, self.limit), _some(test, self.test_limit))

    @no_collecting()
    def rows(self, raw: RawSplits | None = None) -> InstructionDataset:
        """All training rows, for whoever has no use for test rows: nothing is split off.

        Args:
            raw: What `read` gave, where that was read before.

        Raises:
            OSError: If something cannot be read.
            ValueError: If a row cannot be used; the message says which.
        """
        raw = raw or self.read()
        rows = InstructionDataset(raw.name, self._samples(raw.train, _ids(raw)[0], strict=True))
        return _some(rows, self.limit)

    def _samples(self, rows: Sequence[Row], ids: Sequence[str], *, strict: bool) -> tuple[Sample, ...]:
        schema = None
        samples, unanswered, followed = [], [], []
        for row, sample_id in zip(rows, ids, strict=True):
            try:
                schema = schema or choose(self.schema, row.values)
                fields = schema.convert(row.values)
                source = self._source(row, strict)
            except SettingError as error:
                raise SettingError(f"{row.place}: {error.fault}", error.setting, error.remedy) from error
            except ValueError as error:
                raise ValueError(f"{row.place}: {error}") from error
            if not fields.answers:
                unanswered.append(row)
                continue
            instruction = fields.instruction or self.instruction
            if not (instruction or fields.context or fields.question):
                fault = f"{row.place}: nothing is asked"
                raise SettingError(fault, "instruction", "remove the row, or set instruction")
            answers = _response_first(fields.answers, self.answer, training=strict)
            samples.append(Sample(sample_id, instruction, fields.context, fields.question, answers, source))
            if fields.earlier:
                followed.append(row)
        if unanswered:
            self._report(unanswered, len(rows))
        if followed and strict:
            warnings.warn(
                f"{len(followed)} of {len(rows)} rows have earlier answers, the first at {followed[0].place}: they are "
                "read as context only, the last answer of a conversation is its response",
                UserWarning,
                stacklevel=3,
            )
        return tuple(samples)

    def _source(self, row: Row, strict: bool) -> str:
        if self.source_field is None:
            return ""
        source = text(row.values.get(self.source_field), self.source_field)
        if strict and not source:
            columns = ", ".join(row.values)
            raise SettingError(
                f"no value in column {self.source_field!r} ({columns})", "source_field",
                "source_field needs one in every training row",
            )  # fmt: skip
        return source

    def _report(self, unanswered: Sequence[Row], total: int) -> None:
        count, first = len(unanswered), unanswered[0].place
        if not self.drop_unanswered:
            raise SettingError(
                f"{first}: no answer, as in {count} of {total} rows", "drop_unanswered",
                "remove them or set drop_unanswered = true",
            )  # fmt: skip
        if count == total:
            raise ValueError(f"{first}: no answer, nor has any other of {total} rows; check the schema and the columns")
        warnings.warn(f"{count} of {total} rows dropped, the first at {first}: no answer", UserWarning, stacklevel=4)


def _some(rows: InstructionDataset, limit: int | None) -> InstructionDataset:
    """At most so many rows, evenly spaced."""
    count = min(len(rows), limit or len(rows))
    return rows.select([place * len(rows) // count for place in range(count)])


def _ids(raw: RawSplits) -> tuple[list[str], list[str]]:
    test = raw.test or ()
    own = [row.values.get("id") for row in (*raw.train, *test)]
    usable = all(isinstance(value, (str, int)) and str(value).strip() for value in own)
    ids = [str(value) for value in own]
    if not usable or len(set(ids)) < len(ids):
        ids = [f"train-{index}" for index in range(len(raw.train))] + [f"test-{index}" for index in range(len(test))]
    return ids[: len(raw.train)], ids[len(raw.train) :]


def _response_first(answers: tuple[str, ...], answer: Answer, *, training: bool) -> tuple[str, ...]:
    if answer == "all" and training and len(answers) > 1:
        return ("; ".join(answers), *answers)
    if answer != "shortest":
        return answers
    # Alias lists hold emoji and other signs, shorter than any word, that no model should be taught to answer.
    worded = [index for index, alias in enumerate(answers) if any(character.isalnum() for character in alias)]
    best = min(worded or range(len(answers)), key=lambda index: len(answers[index]))
    return (answers[best], *answers[:best], *answers[best + 1 :])
