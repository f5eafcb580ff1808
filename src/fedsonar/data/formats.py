"""Raw rows out of JSON, CSV and Parquet files and saved Arrow folders, each knowing where it lies."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, cast

import pyarrow as pa
import pyarrow.parquet as pq

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
"""Endings of the files that can be read; a folder saved by `datasets` is the other thing that can."""

_MARK = b"\xef\xbb\xbf"
"""What some editors write in front of UTF-8."""


class Row(NamedTuple):
    """One raw row.

    Args:
        origin: The file or table it was read from.
        unit: What `number` counts.
        number: Its line or row there, from 1.
        values: Column name -> value.
    """

    origin: str
    unit: Literal["line", "row"]
    number: int
    values: Mapping[str, object]

    @property
    def place(self) -> str:
        """Where the row is, for a person."""
        return f"{self.origin} {self.unit} {self.number}"


def readable(path: Path) -> bool:
    """Whether `read` takes `path`: a file by its name, a folder by what `datasets` puts there."""
    return (path / "state.json").is_file() if path.is_dir() else path.name.lower().endswith(SUFFIXES)


def read(path: Path) -> list[Row]:
    """The rows of one file or one saved Arrow folder, in order; at least one.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        OSError: If the system cannot read it.
        ValueError: If it has another format, is damaged or holds no rows; the message has the line where there is one.
    """
    if not path.exists():
        raise FileNotFoundError(f"no file {path}; relative paths start at the current folder, {Path.cwd()}")
    if not readable(path):
        what = "a folder that datasets did not save" if path.is_dir() else "not a known format"
        raise ValueError(f"{path} is {what}; use a file that ends in {', '.join(SUFFIXES)}")
    try:
        if path.is_dir():
            rows = _arrow(path)
        elif path.name.lower().endswith(".parquet"):
            rows = _parquet(path)
        else:
            rows = _packed(path)
    except OSError as error:
        raise OSError(f"cannot read {path}: {error.strerror or one_line(error)}") from error
    if not rows:
        raise ValueError(f"{path} holds no rows")
    return rows


def numbered(values: Iterable[Mapping[str, object]], origin: str) -> list[Row]:
    """Rows of a table called `origin`, numbered from 1."""
    return [Row(origin, "row", number, value) for number, value in enumerate(values, 1)]


def one_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _packed(path: Path) -> list[Row]:
    """The rows of a file that may be packed by gzip."""
    name = path.name.lower()
    parse = _json if ".json" in name else _csv
    try:
        with cast(BinaryIO, gzip.open(path) if name.endswith(".gz") else path.open("rb")) as file:
            return parse(file, path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is damaged gzip ({one_line(error)}); copy or download it again") from error


def _json(file: BinaryIO, path: Path) -> list[Row]:
    """JSON lines, an array of rows, or an object whose ``data`` are one."""
    if not path.name.lower().removesuffix(".gz").endswith(".jsonl"):
        start = file.read(1024).removeprefix(_MARK).lstrip()[:1]
        file.seek(0)
        if start == b"[":
            return _array(file.read(), path)
        if start == b"{" and (values := _data(file.read())) is not None:
            return _numbered(values, path)
        file.seek(0)
    # Binary lines end at \n alone, as JSON lines do; text lines would also end inside some strings.
    return [_line(line, path, number) for number, line in enumerate(file, 1) if line.strip()]


def _data(content: bytes) -> list[object] | None:
    """The list under ``data`` of one JSON object; None where `content` is something else, such as JSON lines."""
    try:
        value = json.loads(content.removeprefix(_MARK).decode())
    except (ValueError, RecursionError):
        return None
    values = value.get("data")
    return values if isinstance(values, list) else None


def _csv(file: BinaryIO, path: Path) -> list[Row]:
    """Rows of text under a line of column names, each known by the line it begins in."""
    text = io.StringIO(_decoded(file.read(), path, 1), newline="")
    csv.field_size_limit(2**31 - 1)  # a context may be longer than the 128 KB that are the default
    lines = csv.reader(text, delimiter="\t" if ".tsv" in path.name.lower() else ",", strict=True)
    rows, columns, begin = list[Row](), list[str](), 1
    try:
        for values in lines:
            number, begin = begin, lines.line_num + 1
            if not columns:
                columns = _columns(values, path, number)
            elif values:
                rows.append(_cells(values, columns, path, number))
    except csv.Error as error:
        raise ValueError(
            f"{path} line {begin}: not sound CSV ({one_line(error)}); put values with quotes in double quotes, and "
            "double those that they have"
        ) from error
    return rows


def _columns(names: list[str], path: Path, number: int) -> list[str]:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{path} line {number}: two columns are called {twice!r}; rename one")
    return names


def _cells(values: list[str], columns: list[str], path: Path, number: int) -> Row:
    if len(values) != len(columns):
        raise ValueError(
            f"{path} line {number}: {len(values)} values for {len(columns)} columns ({', '.join(columns)}); "
            "put values that hold the separator in double quotes"
        )
    return Row(str(path), "line", number, dict(zip(columns, values, strict=True)))


def _line(content: bytes, path: Path, number: int) -> Row:
    return _row(_parsed(content.rstrip(), path, number), path, "line", number)


def _array(content: bytes, path: Path) -> list[Row]:
    values = _parsed(content, path, 1)
    assert isinstance(values, list), "the first character was ["
    return _numbered(values, path)


def _numbered(values: list[object], path: Path) -> list[Row]:
    return [_row(value, path, "row", number) for number, value in enumerate(values, 1)]


def _parsed(content: bytes, path: Path, line: int) -> object:
    """The JSON value of `content`, which starts at line `line` of its file."""
    text = _decoded(content, path, line)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line += error.lineno - 1
        raise ValueError(f"{path} line {line}: not valid JSON ({error.msg} at column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; thousands of brackets
        raise ValueError(f"{path} line {line}: not readable JSON ({one_line(error)})") from error


def _decoded(content: bytes, path: Path, line: int) -> str:
    content = content.removeprefix(_MARK)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line += content.count(b"\n", 0, error.start)
        byte = f"0x{content[error.start]:02x}"
        raise ValueError(f"{path} line {line}: not UTF-8 (byte {byte}); save the file as UTF-8") from error


def _row(value: object, path: Path, unit: Literal["line", "row"], number: int) -> Row:
    if not isinstance(value, dict):
        kind = "null" if value is None else type(value).__name__
        raise ValueError(f"{path} {unit} {number}: a JSON {kind}, not an object with a row's columns")
    return Row(str(path), unit, number, value)


def _parquet(path: Path) -> list[Row]:
    try:
        with pq.ParquetFile(path) as file:
            return numbered(file.read().to_pylist(), str(path))
    except (pa.ArrowException, ValueError) as error:
        raise ValueError(f"{path} is not a sound Parquet file ({one_line(error)})") from error


def _arrow(path: Path) -> list[Row]:
    import datasets  # takes a second or more to import, and most runs do not need it

    try:
        return numbered(datasets.load_from_disk(str(path)).to_list(), str(path))
    except (pa.ArrowException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a sound saved dataset ({one_line(error)}); save it again") from error
