"""The mark in the comment of a table created by Knockon."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from engine.model.dataset import Dataset

_MARK = "knockon"


@dataclass(frozen=True, slots=True)
class TableMark:
    """The dataset and dataset version for which a table was created.

    ``layout``: hash of the partitioning and the unique key, which determine the indexes.
    ``retyped``: numbers of the columns with another type since then, counted from 1.
    """

    dataset: str
    version: str
    layout: str
    retyped: tuple[int, ...] = ()

    @staticmethod
    def of(dataset: Dataset, unique_key: Sequence[str]) -> "TableMark":
        """Create the mark of a table for this version of a dataset."""
        layout = msgspec.json.encode((dataset.partitioning, unique_key))
        return TableMark(str(dataset.id), str(dataset.version), sha256(layout).hexdigest()[:16])

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
