"""Column lineage as a run tells it: by names that are not ours, with how to know them."""

from uuid import UUID

import msgspec


class Name(msgspec.Struct, frozen=True):
    """What OpenLineage calls a job or a dataset."""

    namespace: str
    name: str


class Naming(msgspec.Struct, frozen=True):
    """How the datasets of a namespace are called there; a namespace of None is any.

    ``{dataset}`` in ``name`` stands for the name here; one without it is that of ``only``.
    """

    namespace: str | None
    name: str
    only: str | None = None

    def calls(self, dataset: str) -> str | None:
        """The name there of a dataset of ours, if it has one by this."""
        if self.only not in (None, dataset):
            return None
        return self.name.replace("{dataset}", dataset)

    def means(self, name: Name, dataset: str) -> bool:
        """Whether a name there is that dataset's."""
        return self.namespace in (None, name.namespace) and self.calls(dataset) == name.name


class ToldRead(msgspec.Struct, frozen=True):
    """An input column that goes into an output column, or ``*``; ``names`` are its dataset's."""

    output: str
    names: tuple[Name, ...]
    column: str


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The column lineage of one output, whole, as a run has told it.

    ``runs`` are the run and those that it is part of; ``names`` are the output's. ``columns`` are
    all that it has, and ``reads`` what they are made from.
    """

    runs: tuple[UUID, ...]
    names: tuple[Name, ...]
    columns: frozenset[str]
    reads: tuple[ToldRead, ...]
    naming: tuple[Naming, ...]
