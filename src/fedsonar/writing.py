"""Files that appear whole or not at all, and values in JSON's terms."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file that appears whole or not at all: aside first, flushed to disk, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{_aside(path)}{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def half_written(file: Path, path: Path) -> bool:
    """Whether `file` is what a killed :func:`write_whole` of `path` left aside."""
    return file.name.startswith(_aside(path))


def remove_half_written(folder: Path) -> None:
    """Removes what killed calls of :func:`write_whole` left in a folder and in those inside it."""
    for file in folder.rglob(".*.*"):
        if file.suffix[1:].isdecimal() and file.is_file():
            file.unlink(missing_ok=True)


def _aside(path: Path) -> str:
    return f".{path.name}."


def write_json(path: Path, value: Any) -> None:
    """Writes JSON, sorted and indented; nan becomes null."""
    write_whole(path, (json.dumps(plain(value), indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())


def plain(value: Any) -> Any:
    """The value in JSON's terms: nan and infinity become None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
