"""What a DAG file says of a source's records: their dataset, partition and columns."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple

from consumers.formats.bounds import checked
from consumers.formats.keys import KeyOf, Kind, key_of
from consumers.formats.moments import Clock
from engine.model.dag import KafkaSource, PartitionField
from engine.model.event import Reason, SourceEvent, Widened
from engine.partitions import PartitionSpace, TimeDimension
from engine.partitions.dimension import EVERYTHING
from engine.partitions.text import AND, IS

Cells = tuple[Any, ...]
"""The values of the fields that tell the partition, in their order."""

_SCOPES = 4096
_VALUES = 65_536


Kinds = Mapping[str, Kind]
"""By field; of the others a schema says nothing that we need."""


class Place(NamedTuple):
    """Where a row lies: a key or range, None for anywhere; ``unsure`` says what is not known."""

    text: str | None
    unsure: str | None = None


@dataclass(frozen=True)
class Binding:
    """A dataset and the records that tell of it.

    ``columns`` None: nobody has named them, so that every field is one. ``clock`` is the format's,
    for fields of which neither the DAG file nor a schema says more.
    """

    dataset: str
    space: PartitionSpace
    columns: frozenset[str] | None
    source: KafkaSource
    clock: Clock = "utc"

    def pairs(self, columns: Iterable[str]) -> list[tuple[str, str]]:
        """Each field with the column that it is, of these and of those that the DAG file binds."""
        bound = sorted({*columns, *self._field_of})
        return [(self._field_of.get(column, column), column) for column in bound]

    def every(self, fields: Iterable[str]) -> list[tuple[str, str]]:
        """Each field with the column that it is, where every field is one."""
        renamed = {field: column for column, field in self._field_of.items()}
        return [(each, renamed.get(each, each)) for each in sorted(fields)]

    @cached_property
    def _field_of(self) -> Mapping[str, str]:
        """From column to field, for those of which the DAG file says it."""
        held = {column: spot.field for column, spot in self._partitioned_by if spot.field}
        return held | (self.source.columns or {})

    @cached_property
    def partition_fields(self) -> tuple[str, ...]:
        """The fields that tell the partition."""
        return tuple(spot.field for _, spot in self._partitioned_by if spot.field)

    @property
    def _partitioned_by(self) -> list[tuple[str, PartitionField]]:
        said = self.source.partition or {}
        columns = [(name, each.column or name) for name, each in self.space.dimensions]
        return [(column, said.get(name, PartitionField(field=column))) for name, column in columns]

    def cells(self, row: Mapping[str, Any]) -> Cells:
        """What the fields of a row hold that tell its partition; None for those not there."""
        return tuple([row.get(field) for field in self.partition_fields])

    def placer(self, kinds: Kinds) -> Callable[[Cells], Place]:
        """How to tell where a row lies, with what a schema says of its fields."""
        spots = [
            _spot(name, self.space[name], spot, kinds, self.clock)
            for name, (_, spot) in zip(self.space.names, self._partitioned_by, strict=True)
        ]
        return partial(_place, spots) if len(spots) != 1 else partial(_place_in_one, spots[0])

    def event(
        self,
        *places: Place,
        columns: tuple[str, ...] | None = None,
        reason: Reason = "change",
        unsure: str | None = None,
    ) -> SourceEvent:
        """The event about rows that lie there; ``unsure`` says why it says more than changed.

        Raises InvalidEvent where it is out of bounds.
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
    """The one object for a scope, so that what is done with it is done once."""
    texts = dict.fromkeys(place.text for place in places)
    unsure = unsure or next((place.unsure for place in places if place.unsure), None)
    kind, note = (Widened, f"widened: {unsure}") if unsure else (SourceEvent, None)
    partitions = None if None in texts else tuple(filter(None, texts))
    event = kind(dataset=dataset, partitions=partitions, columns=columns, reason=reason, note=note)
    return checked([event])[0]


class _Spot(NamedTuple):
    """A dimension: the prefix of its keys, and its key of a row that has a field, or of any."""

    prefix: str
    field: str | None
    key: KeyOf


def _spot(name: str, dimension: Any, said: PartitionField, kinds: Kinds, clock: Clock) -> _Spot:
    if said.field is None:
        return _Spot(name + IS, None, lambda _: said.constant)
    kind = kinds.get(said.field, Kind(clock=clock))
    kind = kind._replace(unit=said.unit or kind.unit, clock=said.clock or kind.clock)
    key = key_of(dimension, kind)
    is_time = isinstance(dimension, TimeDimension)
    return _Spot(name + IS, said.field, key if is_time else _remembered(key))


def _remembered(key: KeyOf) -> KeyOf:
    """Keys by value, but for values of which there is no telling how large they are."""
    known = lru_cache(_VALUES, typed=True)(key)
    return lambda value: (key if isinstance(value, bytes | list | dict) else known)(value)


_there = lru_cache(_SCOPES)(Place)


def _place_in_one(spot: _Spot, cells: Cells) -> Place:
    key = spot.key(cells[0] if cells else None)
    return Place(None, _unsure(spot)) if key is None else _there(key)


def _place(spots: list[_Spot], cells: Cells) -> Place:
    left = iter(cells)
    keys = [spot.key(next(left) if spot.field else None) for spot in spots]
    parts = [spot.prefix + key for spot, key in zip(spots, keys, strict=True) if key]
    text = AND.join(parts) or (None if spots else EVERYTHING)
    return Place(text, _unsure(spots[keys.index(None)])) if None in keys else _there(text)


def _unsure(spot: _Spot) -> str:
    return f"field {spot.field!r} holds no key of dimension {spot.prefix.rstrip(IS)!r}"
