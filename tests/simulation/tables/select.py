"""SELECTs as values, with the input columns named by each."""

from __future__ import annotations

from dataclasses import dataclass

from tests.simulation.dimensions import Space

HOME = "@home"
"""Placeholder for the schema of the world in the text of a SELECT."""
FUNCTION = f"{HOME}.plus"
"""User-defined function of a number."""
Kinds = tuple[tuple[str, str], ...]
"""Columns, each ``id``, ``number`` or ``text``; partition columns are not included."""


@dataclass(frozen=True)
class Shape:
    """A dataset as read by SELECTs; ``has_ids`` if the column ``id`` is unique."""

    name: str
    space: Space
    kinds: Kinds
    has_ids: bool = False

    def named(self, kind: str) -> list[str]:
        return [name for name, other in self.kinds if other == kind]


@dataclass(frozen=True)
class Select:
    """A SELECT; ``reads`` are the named columns by dataset.

    ``features`` are the used parts of the grammar. A call of a user-defined function counts as
    reading everything.
    """

    text: str
    shape: Shape
    reads: tuple[tuple[str, frozenset[str]], ...]
    features: frozenset[str]

    def reads_any(self, dataset: str, columns: frozenset[str] | None) -> bool:
        """Return whether a change of these columns (None: or of rows) may reach the result."""
        if columns is None or "function" in self.features:
            return True
        return not columns.isdisjoint(dict(self.reads).get(dataset, frozenset()))

    @property
    def preserves_groups(self) -> bool:
        """True if ``k`` is returned, and rows derive only from input rows with the same ``k``."""
        return "k preserved" in self.features and "function" not in self.features
