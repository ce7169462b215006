"""Bindings of a source's records to their dataset, partitions and columns, from the DAG file."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple

from consumers.formats.bounds import checked
from consumers.formats.keys import KeyOf, Kind, key_of
from consumers.formats.moments import Clock
from engine.model.dag_sources import KafkaSource, PartitionField
from engine.model.event import SourceEvent, Widened
from engine.model.states import Reason
from engine.partitions import PartitionSpace, TimeDimension
from engine.partitions.dimension import EVERYTHING
from engine.partitions.text import AND, IS

Cells = tuple[Any, ...]
"""The values of the partition fields, in order."""

_SCOPES = 4096
_VALUES = 65_536


Kinds = Mapping[str, Kind]
"""The meanings of values by field, for the fields whose schema declares one."""


class Place(NamedTuple):
    """The partition of a row: a key or range, None for any.

    ``unsure`` is the reason why the partition is not exact.
    """

    text: str | None
    unsure: str | None = None


@dataclass(frozen=True)
class Binding:
    """The binding of a topic's records to a dataset.

    If ``columns`` is None, none are declared and every field is a column. ``clock`` is the default
    of the format, for fields that neither the DAG file nor a schema describes.
    """

    dataset: str
    space: PartitionSpace
    columns: frozenset[str] | None
    source: KafkaSource
    clock: Clock = "utc"

    def pairs(self, columns: Iterable[str]) -> list[tuple[str, str]]:
        """Pairs of field and column, for ``columns`` and all columns bound in the DAG file."""
        bound = sorted({*columns, *self._field_of})
        return [(self._field_of.get(column, column), column) for column in bound]

    def every(self, fields: Iterable[str]) -> list[tuple[str, str]]:
        """Pairs of field and column, if every field is a column."""
        renamed = {field: column for column, field in self._field_of.items()}
        return [(field, renamed.get(field, field)) for field in sorted(fields)]

    @cached_property
    def _field_of(self) -> Mapping[str, str]:
        """The field of each column that the DAG file binds."""
        fields = {column: spec.field for column, spec in self._partitioned_by if spec.field}
        return fields | (self.source.columns or {})

    @cached_property
    def partition_fields(self) -> tuple[str, ...]:
        """The fields that determine the partition."""
        return tuple(spec.field for _, spec in self._partitioned_by if spec.field)

    @property
    def _partitioned_by(self) -> list[tuple[str, PartitionField]]:
        """The column and the field of each dimension."""
        specs = self.source.partition or {}
        columns = [(name, dimension.column or name) for name, dimension in self.space.dimensions]
        return [(column, specs.get(name, PartitionField(field=column))) for name, column in columns]

    def cells(self, row: Mapping[str, Any]) -> Cells:
        """The values of a row's partition fields; None for missing fields."""
        return tuple([row.get(field) for field in self.partition_fields])

    def placer(self, kinds: Kinds) -> Callable[[Cells], Place]:
        """A function that returns the place of a row; ``kinds`` come from the row's schema."""
        readers = [
            _key_reader(name, self.space[name], spec, kinds, self.clock)
            for name, (_, spec) in zip(self.space.names, self._partitioned_by, strict=True)
        ]
        if len(readers) == 1:
            return partial(_place_in_one, readers[0])
        return partial(_place, readers)

    def event(
        self,
        *places: Place,
        columns: tuple[str, ...] | None = None,
        reason: Reason = Reason.CHANGE,
        unsure: str | None = None,
    ) -> SourceEvent:
        """The event for rows at some places; widened for the reason ``unsure``, if given.

        Raises InvalidEvent if the event is out of bounds.
        """
        return _event(self.dataset, places, columns, reason, unsure)


@lru_cache(_SCOPES)
def _event(
    dataset: str,
    places: tuple[Place, ...],
    columns: tuple[str, ...] | None,
    reason: Reason,
    unsure: str | None,
) -> SourceEvent:
    """The shared event object of a scope; later steps process each object only once."""
    texts = dict.fromkeys(place.text for place in places)
    unsure = unsure or next((place.unsure for place in places if place.unsure), None)
    kind, note = (Widened, f"widened: {unsure}") if unsure else (SourceEvent, None)
    partitions = None if None in texts else tuple(filter(None, texts))
    event = kind(dataset=dataset, partitions=partitions, columns=columns, reason=reason, note=note)
    return checked([event])[0]


class _KeyReader(NamedTuple):
    """The computation of a dimension's key from a row: from ``field``, or a constant if None."""

    prefix: str
    field: str | None
    key: KeyOf


def _key_reader(
    name: str, dimension: Any, spec: PartitionField, kinds: Kinds, clock: Clock
) -> _KeyReader:
    if spec.field is None:
        return _KeyReader(name + IS, None, lambda _: spec.constant)
    kind = kinds.get(spec.field, Kind(clock=clock))
    kind = kind._replace(unit=spec.unit or kind.unit, clock=spec.clock or kind.clock)
    key = key_of(dimension, kind)
    is_time = isinstance(dimension, TimeDimension)
    return _KeyReader(name + IS, spec.field, key if is_time else _cached(key))


def _cached(key: KeyOf) -> KeyOf:
    """Cache keys by value, except for values of types without a size limit."""
    cached = lru_cache(_VALUES, typed=True)(key)
    return lambda value: (key if isinstance(value, bytes | list | dict) else cached)(value)


_shared_place = lru_cache(_SCOPES)(Place)


def _place_in_one(reader: _KeyReader, cells: Cells) -> Place:
    key = reader.key(cells[0] if cells else None)
    return Place(None, _unsure(reader)) if key is None else _shared_place(key)


def _place(readers: list[_KeyReader], cells: Cells) -> Place:
    remaining = iter(cells)
    keys = [reader.key(next(remaining) if reader.field else None) for reader in readers]
    parts = [reader.prefix + key for reader, key in zip(readers, keys, strict=True) if key]
    text = AND.join(parts) or (None if readers else EVERYTHING)
    if None in keys:
        return Place(text, _unsure(readers[keys.index(None)]))
    return _shared_place(text)


def _unsure(reader: _KeyReader) -> str:
    return f"field {reader.field!r} has no key of dimension {reader.prefix.rstrip(IS)!r}"
