"""Debezium's change events: a row as it was and as it is.

Source: Debezium 3.6's PostgreSQL connector; `tests/support/debezium` holds what it said. An update
makes dirty only the columns whose values differ. What an event does not tell counts as changed.
"""

from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from operator import ne
from typing import Any, Generic, TypeVar, cast

import msgspec
from msgspec import UNSET, Raw, UnsetType

from consumers.formats.binding import Binding, Cells, Kinds, Place
from consumers.formats.body import parse_json
from consumers.formats.confluent import Schema, Schemas
from consumers.formats.keys import Kind
from consumers.formats.rows import MISSING, Difference, Layout, rows_of, value_of
from engine.errors import InvalidEvent
from engine.model.event import SourceEvent

Row = TypeVar("Row")
Cell = TypeVar("Cell")
Placer = Callable[[Cells], Place]

_ANYWHERE = Place(None)
_NO_BEFORE = "the row as it was is not told; let the table have REPLICA IDENTITY FULL"
_DOUBTED = "the row as it was is told in part; let the table have REPLICA IDENTITY FULL"

_UNAVAILABLE = "__debezium_unavailable_value"
_PLAIN_UNAVAILABLES = (_UNAVAILABLE, [_UNAVAILABLE], _UNAVAILABLE.encode())
_UNAVAILABLES = (
    *_PLAIN_UNAVAILABLES,
    *(Raw(msgspec.json.encode(each)) for each in _PLAIN_UNAVAILABLES),
)
"""The cells that stand for a large value that the update let be."""

_ZEROS = ("", "AA==", b"", {"scale": 0, "value": "AA=="})
_EPOCH = date(1970, 1, 1).isoformat()

_BOUNDS = ("BEGIN", "END")
_SCHEMAS = 64
_SCOPES = 4096

_TIME, _CONNECT = "io.debezium.time.", "org.apache.kafka.connect.data."
_KINDS: dict[str, Kind] = {
    _TIME + "Date": Kind("days"),
    _CONNECT + "Date": Kind("days"),
    _TIME + "Timestamp": Kind("millis", clock="numbers"),
    _CONNECT + "Timestamp": Kind("millis", clock="local"),
    _TIME + "MicroTimestamp": Kind("micros", clock="numbers"),
    _TIME + "NanoTimestamp": Kind("nanos", clock="numbers"),
    _TIME + "IsoTimestamp": Kind(clock="local"),
    _TIME + "ZonedTimestamp": Kind(),
}


class _Table(msgspec.Struct, frozen=True):
    schema: str | None = None
    db: str | None = None  # what a database without schemas has
    table: str | None = None


class _Change(msgspec.Struct, Generic[Row, Cell], gc=False):
    """What an event's payload says."""

    op: str | None = None
    before: Row | None = None
    after: Row | None = None
    source: Cell = cast("Any", None)


class _Message(_Change[Row, Cell], Generic[Row, Cell], gc=False):
    """A payload, by itself or in the wrapper that carries its schema along."""

    payload: _Change[Row, Cell] | UnsetType | None = UNSET
    schema: Raw = Raw(b"null")


def _of(said: Any, row: Any, cell: Any) -> Any:
    """What is said of rows of a type that only the DAG file tells."""
    return said[row, cell]


class _Schema(msgspec.Struct, frozen=True):
    field: str | None = None
    name: str | None = None
    fields: list["_Schema"] = []
    parameters: dict[str, str] = {}


class Debezium:
    """The format of a topic of Debezium's; `Binding` says what its rows are."""

    def __init__(self, binding: Binding, schemas: Schemas | None = None) -> None:
        self._binding = binding
        self._schemas = schemas
        self._table = binding.source.table
        self._rows = rows_of(binding)
        self._decoder = msgspec.json.Decoder(_of(_Message, self._rows.json, Raw))
        self._plain_type = _of(_Change, self._rows.plain, Any)
        self._fields = binding.partition_fields
        self._key = frozenset(binding.source.key or ())
        self._wrapped = lru_cache(_SCHEMAS)(lambda schema: binding.placer(_kinds(schema)))
        self._learned = lru_cache(_SCHEMAS)(
            lambda schema: binding.placer(kinds_of(schema, "after"))
        )
        self._plain: Placer = binding.placer({})
        self._of_columns = lru_cache(_SCOPES)(
            lambda there, difference: binding.event(there, columns=difference.columns)
        )

    def __call__(
        self, value: bytes | None, headers: Mapping[str, str], dataset: str | None
    ) -> list[SourceEvent]:
        """See `Format`. A tombstone, a heartbeat or the mark of a transaction says nothing."""
        if value is None:
            return []
        if self._schemas is None:
            return self._json(value, self._plain)
        schema, payload = self._schemas.unwrap(value)
        body, place = schema.read(payload), self._learned(schema)
        return self._json(body, place) if isinstance(body, bytes) else self._record(body, place)

    def _json(self, value: bytes, place: Placer) -> list[SourceEvent]:
        try:
            message = self._decoder.decode(value)
        except (ValueError, RecursionError) as error:
            raise InvalidEvent(f"not a Debezium event: {error}") from error
        if message.payload is UNSET:
            return self._events(message, place) if message.op else _marks(parse_json(value))
        if message.payload is None:
            return []
        return self._events(message.payload, self._wrapped(bytes(message.schema)))

    def _record(self, record: dict[str, Any], place: Placer) -> list[SourceEvent]:
        try:
            change = msgspec.convert(record, self._plain_type)
        except msgspec.ValidationError as error:
            raise InvalidEvent(f"not a Debezium event: {error}") from error
        return self._events(change, place) if change.op else _marks(record)

    def _events(self, change: _Change[Any, Any], place: Placer) -> list[SourceEvent]:
        """What a change comes to: one event, or none."""
        if self._table is not None and self._table != _table(change):
            return []
        if change.op == "u" and change.after is not None:
            event = self._updated(change.before, change.after, place)
        else:
            event = self._event(change, place)
        return [] if event is None else [event]

    def _event(self, change: _Change[Any, Any], place: Placer) -> SourceEvent | None:
        """What anything but an update says."""
        event, after = self._binding.event, change.after
        match change.op:
            case "c" | "r" if after is not None:
                return event(place(self._rows.place(after)), reason="arrival")
            case "d":
                return event(self._was(change.before, place))
            case "t":
                return event(_ANYWHERE)
            case "m":  # a message of somebody's own in the log
                return None
            case "u" | "c" | "r":
                raise InvalidEvent(f"op {change.op!r} without `after`: there is no row in it")
        raise InvalidEvent(f"op {change.op!r} is none of c, u, d, r, t, m: is this Debezium's?")

    def _updated(self, before: Any, after: Any, place: Placer) -> SourceEvent | None:
        if before is None:
            stays = self._key.issuperset(self._fields)
            where = place(self._rows.place(after)) if stays else _ANYWHERE
            return self._binding.event(where, unsure=_NO_BEFORE)
        layout, was, now = self._rows.both(before, after)
        difference = layout.difference(tuple(map(ne, was, now)))
        if not (difference.columns or difference.is_elsewhere):
            return None
        here = was[: layout.keys]
        there = tuple(map(_told, here, now)) if difference.is_elsewhere else here
        if there != here:
            old, new = self._was(before, place), place(there)
            if old != new or old.unsure:
                return self._binding.event(old, new)
        return self._changed(layout, difference, now, place(here))

    def _changed(
        self, layout: Layout, difference: Difference, now: Cells, there: Place
    ) -> SourceEvent | None:
        for at in difference.at:
            if now[at] is MISSING or now[at] in _UNAVAILABLES:
                return self._in_part(layout, difference, now, there)
        return self._of_columns(there, difference)

    def _in_part(
        self, layout: Layout, difference: Difference, now: Cells, there: Place
    ) -> SourceEvent | None:
        """The same of a row that does not tell all of its cells."""
        told = [at for at in difference.at if now[at] not in _UNAVAILABLES]
        if not told:
            return None
        unsure = None
        for at in told:
            if now[at] is MISSING:
                field, column = layout.fields[at], layout.column(at)
                unsure = f"records have no field {field!r}, which is column {column!r}"
        columns = tuple([layout.column(at) for at in told])
        return self._binding.event(there, columns=columns, unsure=unsure)

    def _was(self, before: Any, place: Placer) -> Place:
        """Where a row was. What the log does not tell of it is null, or a zero if null is none."""
        if before is None:
            return Place(None, _NO_BEFORE)
        cells = self._rows.place(before)
        doubted = [
            field not in self._key and _zero(cell)
            for field, cell in zip(self._fields, cells, strict=True)
        ]
        sure = [None if in_doubt else cell for cell, in_doubt in zip(cells, doubted, strict=True)]
        found = place(tuple(sure))
        return found._replace(unsure=_DOUBTED) if any(doubted) else found


def _told(was: Any, now: Any) -> Any:
    """A cell as it is, where the update tells it."""
    return was if now in _UNAVAILABLES else now


def _table(change: _Change[Any, Any]) -> str:
    try:
        source = msgspec.convert(value_of(change.source), _Table | None)
    except msgspec.ValidationError as error:
        raise InvalidEvent(f"not a Debezium event: {error} - in `$.source`") from error
    if source is None or source.table is None:
        raise InvalidEvent("it has no `source.table`: leave it in, or drop `table` in the DAG file")
    return f"{source.schema or source.db}.{source.table}"


def _zero(cell: Any) -> bool:
    if isinstance(cell, str | date):
        return str(cell).startswith(_EPOCH) or cell in _ZEROS or not str(cell).strip("0.")
    return not cell or cell in _ZEROS


def _marks(body: Any) -> list[SourceEvent]:
    """No events, if it is a heartbeat or the beginning or end of a transaction."""
    if isinstance(body, dict) and (body.keys() == {"ts_ms"} or body.get("status") in _BOUNDS):
        return []
    raise InvalidEvent(
        "not a Debezium event: it has no `op`; if a transform made plain rows of the events, let "
        "it be, for they do not tell what changed"
    )


def _kinds(schema: bytes) -> Kinds:
    """What the schema in a wrapper says of the row's fields."""
    try:
        envelope = msgspec.json.decode(schema, type=_Schema | None)
    except msgspec.DecodeError as error:
        raise InvalidEvent(f"the schema of the Debezium event cannot be read: {error}") from error
    rows = [each for each in (envelope.fields if envelope else ()) if each.field == "after"]
    return {each.field: _kind(each) for row in rows for each in row.fields if each.field}


def kinds_of(schema: Schema, *within: str) -> Kinds:
    """What a registry's schema says of a row's fields."""
    names = schema.names(*within)
    return {field: _KINDS[name] for field, name in names.items() if name in _KINDS}


def _kind(schema: _Schema) -> Kind:
    if schema.name == _CONNECT + "Decimal":
        scale = schema.parameters.get("scale", "0")
        return Kind(scale=int(scale) if scale.isdecimal() else None)
    return _KINDS.get(schema.name or "", Kind(clock="numbers"))
