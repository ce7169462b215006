"""Bindings of a source's messages to their dataset, partitions and columns, from the DAG file."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple

from consumers.formats.bounds import checked
from consumers.formats.keys import KeyOf, Kind, key_of
from consumers.formats.moments import Clock
from engine.model.dag_sources import MessageSource, PartitionField
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


class RowPartition(NamedTuple):
    """The partition of a row: a key or range, None for any.

    ``uncertainty`` is the reason why the exact partition is unknown.
    """

    text: str | None
    uncertainty: str | None = None


@dataclass(frozen=True)
class Binding:
    """The binding of a topic's or endpoint's messages to a dataset.

    If ``columns`` is None, none are declared and every field is a column. ``clock`` is the default
    of the format, for fields that neither the DAG file nor a schema describes.
    """

    dataset: str
    space: PartitionSpace
    columns: frozenset[str] | None
    source: MessageSource
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

    def partition_reader(self, kinds: Kinds) -> Callable[[Cells], RowPartition]:
        """A function that reads the partition of a row; ``kinds`` come from the row's schema."""
        readers = [
            _key_reader(name, self.space[name], spec, kinds, self.clock)
            for name, (_, spec) in zip(self.space.names, self._partitioned_by, strict=True)
        ]
        if len(readers) == 1:
            return partial(_read_one_key, readers[0])
        return partial(_read_keys, readers)

    def event(
        self,
        *partitions: RowPartition,
        columns: tuple[str, ...] | None = None,
        reason: Reason = Reason.CHANGE,
        uncertainty: str | None = None,
    ) -> SourceEvent:
        """The event for rows in some partitions; widened for the reason ``uncertainty``, if given.

        Raises InvalidEvent if the event is out of bounds.
        """
        return _event(self.dataset, partitions, columns, reason, uncertainty)


@lru_cache(_SCOPES)
def _event(
    dataset: str,
    partitions: tuple[RowPartition, ...],
    columns: tuple[str, ...] | None,
    reason: Reason,
    uncertainty: str | None,
) -> SourceEvent:
    """The shared event object of a scope; later steps process each object only once."""
    texts = dict.fromkeys(partition.text for partition in partitions)
    uncertainty = uncertainty or next(filter(None, (p.uncertainty for p in partitions)), None)
    kind, note = (Widened, f"widened: {uncertainty}") if uncertainty else (SourceEvent, None)
    listed = None if None in texts else tuple(filter(None, texts))
    event = kind(dataset=dataset, partitions=listed, columns=columns, reason=reason, note=note)
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


_shared_partition = lru_cache(_SCOPES)(RowPartition)


def _read_one_key(reader: _KeyReader, cells: Cells) -> RowPartition:
    key = reader.key(cells[0] if cells else None)
    return RowPartition(None, _missing_key(reader)) if key is None else _shared_partition(key)


def _read_keys(readers: list[_KeyReader], cells: Cells) -> RowPartition:
    remaining = iter(cells)
    keys = [reader.key(next(remaining) if reader.field else None) for reader in readers]
    parts = [reader.prefix + key for reader, key in zip(readers, keys, strict=True) if key]
    text = AND.join(parts) or (None if readers else EVERYTHING)
    if None in keys:
        return RowPartition(text, _missing_key(readers[keys.index(None)]))
    return _shared_partition(text)


def _missing_key(reader: _KeyReader) -> str:
    return f"field {reader.field!r} has no key of dimension {reader.prefix.rstrip(IS)!r}"
