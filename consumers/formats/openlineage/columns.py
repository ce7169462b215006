"""The column lineage that a run tells of its outputs, if it tells all.

Source: OpenLineage's facets `columnLineage` (1-1-0 and 1-2-0) and `schema` of datasets, and
`parent` (1-1-0) of runs. What is not understood, or may not be all, is not told.
"""

from collections.abc import Iterator, Sequence
from uuid import UUID

import msgspec
from msgspec import Struct

from engine.lineage.columns import EVERY
from engine.model.openlineage import PRODUCER
from engine.model.told import Name, Naming, Told, ToldRead


class _Transformation(Struct, frozen=True):
    type: str


class _InputField(Name, frozen=True):
    field: str
    transformations: list[_Transformation] | None = None

    @property
    def is_direct(self) -> bool:
        """Whether it goes into its column alone, and moves no row."""
        return all(each.type == "DIRECT" for each in self.transformations or ())


class _Field(Struct, frozen=True, rename="camel"):
    input_fields: list[_InputField]


class _ColumnLineage(Struct, frozen=True):
    fields: dict[str, _Field]
    dataset: list[_InputField] | None = None

    @property
    def tells_all(self) -> bool:
        """Whether its producer tells what is filtered, joined and grouped by; older ones do not."""
        listed = [each for field in self.fields.values() for each in field.input_fields]
        return bool(self.dataset) or all(each.transformations for each in listed)


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
        """Its own, and those of the runs that it is part of."""
        parent = self.facets and self.facets.parent
        around = [parent.run, *([parent.root.run] if parent.root else ())] if parent else []
        return tuple(dict.fromkeys([self.run_id, *(each.run_id for each in around)]))


class _Event(Struct, frozen=True, rename="camel"):
    event_type: str
    run: _Run
    producer: str = ""
    inputs: list[_Dataset] | None = None
    outputs: list[_Dataset] | None = None


_decoder = msgspec.json.Decoder(_Event)


def told(value: bytes, naming: Sequence[Naming]) -> list[Told]:
    """What the run has told of its outputs; nothing unless it has completed."""
    if b"columnLineage" not in value:
        return []
    try:
        event = _decoder.decode(value)
    except (ValueError, RecursionError):
        return []
    if event.event_type != "COMPLETE" or event.producer == PRODUCER:
        return []
    return [_told(event, each, facet, naming) for each, facet in _whole(event)]


def _whole(event: _Event) -> Iterator[tuple[_Dataset, _ColumnLineage]]:
    """The outputs whose lineage is told of every column."""
    for output in event.outputs or ():
        facet = output.facets and output.facets.column_lineage
        if facet and facet.tells_all and _columns(output) <= facet.fields.keys():
            yield output, facet


def _columns(output: _Dataset) -> set[str]:
    schema = output.facets and output.facets.schema
    return {each.name for each in (schema and schema.fields) or ()}


def _told(event: _Event, output: _Dataset, facet: _ColumnLineage, naming: Sequence[Naming]) -> Told:
    names = {each.names[0]: each.names for each in event.inputs or ()}
    reads = {
        ToldRead(column, names.get(name, (name,)), read.field)
        for column, read in _reads(facet)
        for name in [Name(read.namespace, read.name)]
    }
    return Told(
        runs=event.run.ids,
        names=output.names,
        columns=frozenset(facet.fields),
        reads=tuple(reads),
        naming=tuple(naming),
    )


def _reads(facet: _ColumnLineage) -> Iterator[tuple[str, _InputField]]:
    """Output column, or ``*``, and what goes into it: what may move rows goes into all."""
    for column, field in facet.fields.items():
        for read in field.input_fields:
            yield (column if read.is_direct else EVERY), read
    for read in facet.dataset or ():
        yield EVERY, read
