"""The mark in the comment of a table created by Knockon."""

from dataclasses import dataclass
from hashlib import sha256

from engine.model.dataset import Dataset

_MARK = "knockon"


@dataclass(frozen=True, slots=True)
class TableMark:
    """The dataset, dataset version and partitioning for which a table was created."""

    dataset: str
    version: str
    partitioning: str

    @staticmethod
    def of(dataset: Dataset) -> "TableMark":
        """Create the mark of a table for this version of a dataset."""
        partitioning = sha256(dataset.partitioning.encode()).hexdigest()[:16]
        return TableMark(str(dataset.id), str(dataset.version), partitioning)

    @staticmethod
    def read(comment: str | None) -> "TableMark | None":
        """Parse the mark in a comment; None if the table was not created by Knockon."""
        word, *parts = (comment or "").split(":")
        return TableMark(*parts) if word == _MARK and len(parts) == 3 else None

    def __str__(self) -> str:
        return ":".join((_MARK, self.dataset, self.version, self.partitioning))
