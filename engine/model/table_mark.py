"""The mark in the comment of a table created by Knockon."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from engine.model.dataset import Dataset, grid_of

_MARK = "knockon"


@dataclass(frozen=True, slots=True)
class TableMark:
    """The dataset and dataset version for which a table was created.

    ``layout``: hash of the grid of the partitions and the unique key, which determine the indexes.
    ``retyped``: numbers of the columns with another type since then, counted from 1.
    """

    dataset: str
    version: str
    layout: str
    retyped: tuple[int, ...] = ()

    @staticmethod
    def of(dataset: Dataset, unique_key: Sequence[str]) -> "TableMark":
        """Create the mark of a table for this version of a dataset."""
        layout = _hash(grid_of(dataset.partitioning), unique_key)
        return TableMark(str(dataset.id), str(dataset.version), layout)

    def has_layout_of(self, dataset: Dataset, unique_key: Sequence[str]) -> bool:
        """Return True if a version of the dataset has the layout of the table.

        Earlier releases hashed bounds and key lists as well.
        """
        partitionings = grid_of(dataset.partitioning), dataset.partitioning
        return self.layout in [_hash(each, unique_key) for each in partitionings]

    @staticmethod
    def read(comment: str | None) -> "TableMark | None":
        """Parse the mark in a comment; None if the table was not created by Knockon."""
        word, *parts = (comment or "").split(":")
        if word != _MARK or len(parts) not in {3, 4}:
            return None
        dataset, version, layout, *retyped = parts
        numbers = [number for text in retyped for number in text.split(",")]
        return TableMark(dataset, version, layout, tuple(map(int, filter(str.isdecimal, numbers))))

    def __str__(self) -> str:
        parts = (_MARK, self.dataset, self.version, self.layout)
        numbers = ",".join(map(str, self.retyped))
        return ":".join((*parts, numbers) if numbers else parts)


def _hash(partitioning: str, unique_key: Sequence[str]) -> str:
    return sha256(msgspec.json.encode((partitioning, unique_key))).hexdigest()[:16]
