"""Column lineage reported by runs, in names of other systems, and the matching of those names."""

from uuid import UUID

import msgspec


class Name(msgspec.Struct, frozen=True):
    """The OpenLineage identifier of a job or a dataset."""

    namespace: str
    name: str


class DatasetNaming(msgspec.Struct, frozen=True):
    """The pattern by which the reporting system names Knockon's datasets.

    ``{dataset}`` in ``name`` is replaced by the dataset's name in Knockon. A name without the
    placeholder belongs to the dataset ``only``. A namespace of None matches every namespace.
    """

    namespace: str | None
    name: str
    only: str | None = None

    def external_name(self, dataset: str) -> str | None:
        """The dataset's name in the reporting system; None if the pattern does not cover it."""
        if self.only not in (None, dataset):
            return None
        return self.name.replace("{dataset}", dataset)

    def matches(self, name: Name, dataset: str) -> bool:
        """Return whether an external name identifies a dataset."""
        return self.namespace in (None, name.namespace) and self.external_name(dataset) == name.name


class ReportedColumn(msgspec.Struct, frozen=True):
    """An input column that an output column is computed from; ``*`` means every output column.

    ``names`` are the names of the input dataset.
    """

    output: str
    names: tuple[Name, ...]
    column: str


class ReportedLineage(msgspec.Struct, frozen=True, kw_only=True):
    """The complete column lineage of one output, as reported by a run.

    ``runs`` are the run and its parent runs, ``names`` the names of the output, ``columns`` all
    columns of the output, and ``reads`` the input columns.
    """

    runs: tuple[UUID, ...]
    names: tuple[Name, ...]
    columns: frozenset[str]
    reads: tuple[ReportedColumn, ...]
    naming: tuple[DatasetNaming, ...]
