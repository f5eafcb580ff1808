"""Instruction data from files: JSON lines, JSON arrays, CSV, Parquet, and folders that `datasets` saved."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from fedsonar.data.formats import SUFFIXES, Row, read, readable
from fedsonar.data.rows import RawSplits, RowSource
from fedsonar.errors import SettingError


@dataclass(frozen=True, kw_only=True)
class Files(RowSource):
    """Rows of local files; relative paths start at the current folder.

    In a folder, the training rows are in ``train*`` and the test rows in ``test*``, else ``validation*``: a file that
    ends in .jsonl, .json, .csv, .tsv (all also with .gz) or .parquet, shards of one (names that differ in numbers
    alone, read in numeric order), or a folder saved by ``Dataset.save_to_disk``; so a saved ``DatasetDict`` is such a
    folder too. docs/data.md lists the kinds of files and the layouts. Without a test file, `test_fraction` of the
    training rows is split off. Nothing that is read is ever executed.

    Args:
        path: A file or saved dataset with the training rows, or a folder of splits.
        train: File of the training rows; stands in for what `path` holds.
        test: File of the test rows; stands in for what `path` holds.

    Raises:
        ValueError: If neither `path` nor `train` is given, or both name training rows.
    """

    path: str | None = None
    train: str | None = None
    test: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path and not self.train:
            raise ValueError("Files needs path, a file or a folder with a train file, or train, a file")

    def read(self) -> RawSplits:
        """The rows of the training files, and of the test files if there are any."""
        train, test = self._given(self.train), self._given(self.test)
        place = Path(self.path or self.train or "").expanduser()
        if self.path:
            if not place.is_dir() or readable(place):
                if train:
                    raise ValueError(f"path={self.path} and train={self.train} both hold training rows; give one")
                train = [place]
            else:
                train = train or _training(place)
                test = test or _split(place, "test") or _split(place, "validation")
        return RawSplits(place.resolve().name.split(".")[0], _rows(train), _rows(test) if test else None)

    @staticmethod
    def _given(path: str | None) -> list[Path]:
        return [Path(path).expanduser()] if path else []


def _rows(paths: list[Path]) -> list[Row]:
    return [row for path in paths for row in read(path)]


def _training(folder: Path) -> list[Path]:
    found = _split(folder, "train")
    if not found:
        names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
        listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        raise SettingError(
            f"no train file (train*{', train*'.join(SUFFIXES)}) in {folder}, which holds {listed or 'nothing'}",
            "train", "name one with train",
        )  # fmt: skip
    return found


def _split(folder: Path, split: str) -> list[Path]:
    """The file of `split` in `folder`, or its shards in numeric order; empty if there is none."""
    found = [entry for entry in folder.iterdir() if entry.name.lower().startswith(split) and readable(entry)]
    if len({re.sub(r"\d+", "", entry.name) for entry in found}) > 1:
        names = ", ".join(sorted(entry.name for entry in found))
        option = "train" if split == "train" else "test"
        fault = f"{folder} holds several {split} files ({names})"
        raise SettingError(fault, option, f"name the one meant with {option}")
    return sorted(found, key=lambda entry: [int(number) for number in re.findall(r"\d+", entry.name)])
