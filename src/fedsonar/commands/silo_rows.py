"""The rows of silos that commands judge: read from files, found again in them, and written as they came."""

from __future__ import annotations

import argparse
import errno
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from fedsonar.collecting import no_collecting
from fedsonar.errors import ConfigError, SettingError

if TYPE_CHECKING:
    from fedsonar.data import Files, Sample
    from fedsonar.data.formats import Row

READ = (
    "\n\nWhat is read: files that end in .jsonl, .json, .csv, .tsv (all also with .gz) or .parquet, and folders that "
    "datasets saved. Layouts (--schema), by their columns in any capitals: native (instruction, answers), alpaca "
    "(instruction, output), dolly (instruction, response), sharegpt (conversations), chat (messages), squad (question, "
    "answers), prompt-completion, prompt-response, question-answer, input-output. Of a conversation the last answer "
    "alone is judged, and earlier ones are context; a note says so. See docs/data.md."
)
"""What a command's description says about files."""
ADDED = ("silo", "place", "suspicion")
"""Columns that suspected rows are given."""
_REMEDIES = {
    "drop_unanswered": "remove them or leave them out with --drop-unanswered",
    "schema": "name the one meant with --schema",
    "source_field": "--split-by needs one in every row",
    "instruction": "remove the row, or say with --instruction what is asked",
    "train": "name the file itself",
    "test": "name the file itself",
}
"""Setting of data.Files -> how what it mends is mended where there is no experiment to set it in."""


@dataclass(frozen=True)
class SiloRows:
    """One silo.

    Args:
        name: Of the silo.
        samples: Its rows.
        raw: Id of a row -> the row as it came.
    """

    name: str
    samples: Sequence[Sample]
    raw: Mapping[str, Row]


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that say how files are read."""
    parser.add_argument("--schema", default="auto", metavar="NAME", help="layout of the rows (default: by the columns)")
    parser.add_argument("--answer", choices=("first", "shortest", "all"), default="first",
                        help="which accepted answer is trained on (default: first)")  # fmt: skip
    parser.add_argument("--instruction", default="", metavar="TEXT", help="instruction of rows that have none")
    parser.add_argument("--drop-unanswered", action="store_true",
                        help="leave out rows without an answer, with a note, instead of refusing them")  # fmt: skip


def read_silo(path: str, options: argparse.Namespace, split_by: str | None = None) -> SiloRows:
    """The rows of one file or folder.

    Args:
        path: Where they are.
        options: The command's; see `add_reading`.
        split_by: The column that becomes their samples' source.

    Raises:
        OSError: If something cannot be read.
        ConfigError: If an option does not fit the rows.
        ValueError: If a row cannot be used; as that, it names the remedy by the command's options.
    """
    try:
        with no_collecting():
            source = _files(path, options, split_by)
            raw = source.read()
            return SiloRows(path, source.rows(raw).samples, raw.by_id())
    except SettingError as error:
        kind = ValueError if error.of_rows else ConfigError
        raise kind(f"{error.fault}; {_REMEDIES[error.setting]}") from error


def _files(path: str, options: argparse.Namespace, split_by: str | None) -> Files:
    from fedsonar.data import Files

    return Files(
        path=path, source_field=split_by, answer=options.answer, schema=options.schema, instruction=options.instruction,
        drop_unanswered=options.drop_unanswered,
    )  # fmt: skip


def check_schema(options: argparse.Namespace) -> None:
    """Refuses a layout that there is not.

    Raises:
        ConfigError: Naming those that there are.
    """
    from fedsonar.data.schema import SchemaName

    if options.schema not in (known := get_args(SchemaName)):
        raise ConfigError(f"--schema {options.schema} is unknown; use one of {', '.join(known)}")


def check_paths(options: argparse.Namespace, written: Iterable[str]) -> None:
    """Refuses arguments that would go wrong only after all the work.

    Args:
        options: The command's.
        written: Names of the files that it writes into --out.

    Raises:
        ConfigError: If there is no such layout, a file is given twice, or one would be overwritten.
        OSError: If --out is a file.
    """
    check_schema(options)
    given: dict[Path, str] = {}
    for path in options.data:
        place = Path(path).expanduser().resolve()
        if place in given:
            also = "" if given[place] == path else f" (as {given[place]} too)"
            raise ConfigError(f"{path} is given twice{also}; name each silo once")
        given[place] = path
    if options.out:
        if options.out.exists() and not options.out.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(options.out))
        for name in written:
            if (place := (options.out / name).resolve()) in given:
                raise ConfigError(f"--out {options.out} would overwrite {given[place]}, which is read; name another")


def places(silos: Sequence[SiloRows]) -> Callable[[int, str], str]:
    """Tells people where a row is, by its silo's number and its id: ``silo.jsonl:8``, and its own id if it has one.

    Of a table it says ``silo.parquet row 8``. Files of one name in several folders are told with these.
    """
    origins = {row.origin for silo in silos for row in silo.raw.values()}
    names = Counter(Path(origin).name for origin in origins)
    shown = {origin: Path(origin).name if names[Path(origin).name] == 1 else origin for origin in origins}

    def place(silo: int, sample: str) -> str:
        row = silos[silo].raw.get(sample)
        if row is None:
            return sample
        where = shown[row.origin] + (f":{row.number}" if row.unit == "line" else f" row {row.number}")
        return f"{where} ({sample})" if str(row.values.get("id")) == sample else where

    return place


def added_columns(silos: Sequence[SiloRows]) -> dict[str, str]:
    """What the columns of `ADDED` are called beside rows' own: ``fedsonar_silo`` where some row has a ``silo``."""
    own = {column for silo in silos for row in silo.raw.values() for column in row.values}
    names = {}
    for column in ADDED:
        names[column] = column
        while names[column] in own:
            names[column] = f"fedsonar_{names[column]}"
    return names


def json_line(values: Mapping[str, Any]) -> str:
    """A row as a line of JSON: what JSON has no word for becomes text, and nan null."""
    from fedsonar.writing import plain

    return json.dumps(plain(values), ensure_ascii=False, default=str)


def written_rows(
    silos: Sequence[SiloRows], suspicion: Sequence[Sequence[float]], flagged: Sequence[Sequence[bool]]
) -> dict[str, list[str]]:
    """The lines of kept.jsonl and suspects.jsonl: rows as they came, suspects with the columns of `ADDED`.

    Args:
        silos: The silos.
        suspicion: Of each row of each.
        flagged: Whether it is suspected.
    """
    names, place = added_columns(silos), places(silos)
    lines: dict[str, list[str]] = {"kept": [], "suspects": []}
    for number, (silo, scores, out) in enumerate(zip(silos, suspicion, flagged, strict=True)):
        for sample, score, suspected in zip(silo.samples, scores, out, strict=True):
            values = dict(silo.raw[sample.id].values) if sample.id in silo.raw else _values(sample)
            if suspected:
                told = (silo.name, place(number, sample.id), float(f"{score:.6g}"))
                values |= {names[column]: value for column, value in zip(ADDED, told, strict=True)}
            lines["suspects" if suspected else "kept"].append(json_line(values))
    return lines


def _values(sample: Sample) -> dict[str, Any]:
    """A row that came from no file."""
    return {
        "id": sample.id, "instruction": sample.instruction, "context": sample.context, "question": sample.question,
        "answers": list(sample.answers),
    }  # fmt: skip
