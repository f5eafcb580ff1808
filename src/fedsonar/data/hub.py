"""Instruction data from the Hugging Face Hub."""

from __future__ import annotations

from dataclasses import dataclass

from fedsonar.data.formats import Row, numbered, one_line
from fedsonar.data.rows import RawSplits, RowSource


@dataclass(frozen=True, kw_only=True)
class Hub(RowSource):
    """Rows of a data set on the Hugging Face Hub, or of its copy in the local cache.

    Data files alone are read: data sets that come with a loading script are refused, and nothing is executed.

    Args:
        name: The data set, ``owner/name``.
        config: Its configuration, for data sets that have several.
        train_split: Split of the training rows; slices such as ``train[:1000]`` are understood.
        test_split: Split of the test rows; without one, `test_fraction` of the training rows is split off.
        revision: Branch, tag or commit; a commit makes the rows reproducible.

    Raises:
        ValueError: If `name` is empty.
    """

    name: str
    config: str | None = None
    train_split: str = "train"
    test_split: str | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.name:
            raise ValueError("Hub needs name, a data set of the Hugging Face Hub such as 'owner/name'")

    def read(self) -> RawSplits:
        """The rows of the training split, and of the test split if one is named."""
        train = self._rows(self.train_split)
        return RawSplits(self.name, train, self._rows(self.test_split) if self.test_split else None)

    def _rows(self, split: str) -> list[Row]:
        import datasets  # takes a second or more to import, and most runs do not need it

        try:
            dataset = datasets.load_dataset(self.name, self.config, split=split, revision=self.revision)
        except datasets.exceptions.FileNotFoundDatasetsError as error:
            raise ValueError(f"cannot find {self.name!r} on the Hugging Face Hub: {one_line(error)}") from error
        except OSError as error:
            raise ValueError(
                f"cannot reach the Hugging Face Hub for {self.name!r}: {one_line(error)}; "
                "download it elsewhere and use data.path"
            ) from error
        except Exception as error:  # the library and its clients raise errors of many unrelated classes
            raise ValueError(f"cannot load split {split!r} of {self.name!r}: {one_line(error)}") from error
        rows = numbered(dataset.to_list(), f"{self.name}/{split}")
        if not rows:
            raise ValueError(f"split {split!r} of {self.name!r} holds no rows")
        return rows
