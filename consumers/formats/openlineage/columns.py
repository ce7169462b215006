"""The column lineage that a run reports for its outputs.

Source: OpenLineage's facets `columnLineage` (1-1-0 and 1-2-0) and `schema` of datasets, and
`parent` (1-1-0) of runs. Lineage that cannot be read or may be incomplete is ignored.
"""

from collections.abc import Iterator, Sequence
from uuid import UUID

import msgspec
from msgspec import Struct

from engine.lineage.columns import EVERY
from engine.model.openlineage import PRODUCER
from engine.model.reported_lineage import DatasetNaming, Name, ReportedColumn, ReportedLineage


class _Transformation(Struct, frozen=True):
    type: str


class _InputField(Name, frozen=True):
    field: str
    transformations: list[_Transformation] | None = None

    @property
    def is_direct(self) -> bool:
        """Return whether the input field affects only its column, and not which rows there are."""
        return all(step.type == "DIRECT" for step in self.transformations or ())


class _Field(Struct, frozen=True, rename="camel"):
    input_fields: list[_InputField]


class _ColumnLineage(Struct, frozen=True):
    fields: dict[str, _Field]
    dataset: list[_InputField] | None = None

    @property
    def is_complete(self) -> bool:
        """Return whether filter, join and group columns are reported; old producers omit them."""
        inputs = [item for field in self.fields.values() for item in field.input_fields]
        return bool(self.dataset) or all(item.transformations for item in inputs)


class _Column(Struct, frozen=True):
    name: str


class _Schema(Struct, frozen=True):
    fields: list[_Column] | None = None


class _Symlinks(Struct, frozen=True):
    identifiers: list[Name] = []


class _Facets(Struct, frozen=True, rename={"column_lineage": "columnLineage"}):
    column_lineage: _ColumnLineage | None = None
    schema: _Schema | None = None
    symlinks: _Symlinks | None = None


class _Dataset(Name, frozen=True):
    facets: _Facets | None = None

    @property
    def names(self) -> tuple[Name, ...]:
        symlinks = self.facets and self.facets.symlinks
        return (Name(self.namespace, self.name), *(symlinks.identifiers if symlinks else ()))


class _RunId(Struct, frozen=True, rename="camel"):
    run_id: UUID


class _Root(Struct, frozen=True):
    run: _RunId


class _Parent(_Root, frozen=True):
    root: _Root | None = None


class _RunFacets(Struct, frozen=True):
    parent: _Parent | None = None


class _Run(_RunId, frozen=True, rename="camel"):
    facets: _RunFacets | None = None

    @property
    def ids(self) -> tuple[UUID, ...]:
        """The ids of the run, its parent and its root run."""
        ids = [self.run_id]
        if parent := self.facets and self.facets.parent:
            ids.append(parent.run.run_id)
            if parent.root:
                ids.append(parent.root.run.run_id)
        return tuple(dict.fromkeys(ids))


class _Event(Struct, frozen=True, rename="camel"):
    event_type: str
    run: _Run
    producer: str = ""
    inputs: list[_Dataset] | None = None
    outputs: list[_Dataset] | None = None


_decoder = msgspec.json.Decoder(_Event)


def reported_lineage(value: bytes, naming: Sequence[DatasetNaming]) -> list[ReportedLineage]:
    """The column lineage of the run's outputs; empty unless the run has completed."""
    if b"columnLineage" not in value:
        return []
    try:
        event = _decoder.decode(value)
    except (ValueError, RecursionError):
        return []
    if event.event_type != "COMPLETE" or event.producer == PRODUCER:
        return []
    return [_reported(event, output, facet, naming) for output, facet in _complete_outputs(event)]


def _complete_outputs(event: _Event) -> Iterator[tuple[_Dataset, _ColumnLineage]]:
    """The outputs with lineage for every column."""
    for output in event.outputs or ():
        facet = output.facets and output.facets.column_lineage
        schema = output.facets and output.facets.schema
        columns = {column.name for column in (schema and schema.fields) or ()}
        if facet and facet.is_complete and columns <= facet.fields.keys():
            yield output, facet


def _reported(
    event: _Event, output: _Dataset, facet: _ColumnLineage, naming: Sequence[DatasetNaming]
) -> ReportedLineage:
    names = {dataset.names[0]: dataset.names for dataset in event.inputs or ()}
    reads = {
        ReportedColumn(column, names.get(name, (name,)), read.field)
        for column, read in _reads(facet)
        for name in [Name(read.namespace, read.name)]
    }
    return ReportedLineage(
        runs=event.run.ids,
        names=output.names,
        columns=frozenset(facet.fields),
        reads=tuple(reads),
        naming=tuple(naming),
    )


def _reads(facet: _ColumnLineage) -> Iterator[tuple[str, _InputField]]:
    """Pairs of an output column and an input field.

    The output column is ``*`` for input fields that may determine which rows there are.
    """
    for column, field in facet.fields.items():
        for read in field.input_fields:
            yield (column if read.is_direct else EVERY), read
    for read in facet.dataset or ():
        yield EVERY, read
