"""Debezium's change events: a row as it was and as it is.

Source: Debezium 3.6's PostgreSQL connector; `tests/support/debezium` holds what it said. An update
makes dirty only the columns whose values differ. What an event does not tell counts as changed.
"""

from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from consumers.formats.binding import Binding, Kinds, Place, Row, value_of
from consumers.formats.body import parse_json
from consumers.formats.confluent import Schema, Schemas
from consumers.formats.keys import Kind
from engine.errors import InvalidEvent
from engine.model.event import SourceEvent

Cell = TypeVar("Cell")
Placer = Callable[[Row], Place]

_ANYWHERE = Place(None)
_NO_BEFORE = "the row as it was is not told; let the table have REPLICA IDENTITY FULL"
_DOUBTED = "the row as it was is told in part; let the table have REPLICA IDENTITY FULL"
_BEFORE, _AFTER = object(), object()  # cells of a field that is not there: equal to nothing

_UNAVAILABLE = "__debezium_unavailable_value"
_UNAVAILABLES = (_UNAVAILABLE, [_UNAVAILABLE], _UNAVAILABLE.encode())
_UNAVAILABLES_JSON = frozenset(msgspec.json.encode(each) for each in _UNAVAILABLES)

_ZEROS = ("", "AA==", b"", {"scale": 0, "value": "AA=="})
_EPOCH = date(1970, 1, 1).isoformat()

_BOUNDS = ("BEGIN", "END")
_SCHEMAS = 64

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


class Change(msgspec.Struct, Generic[Cell], frozen=True):
    """What an event's payload says."""

    op: str | None = None
    before: dict[str, Cell] | None = None
    after: dict[str, Cell] | None = None
    source: _Table | None = None


class _Message(Change[Cell], Generic[Cell], frozen=True):
    """A payload, by itself or in the wrapper that carries its schema along."""

    payload: Change[Cell] | UnsetType | None = UNSET
    schema: Raw = Raw(b"null")


class _Schema(msgspec.Struct, frozen=True):
    field: str | None = None
    name: str | None = None
    fields: list["_Schema"] = []
    parameters: dict[str, str] = {}


_decoder = msgspec.json.Decoder(_Message[Raw])


class Debezium:
    """The format of a topic of Debezium's; `Binding` says what its rows are."""

    def __init__(self, binding: Binding, schemas: Schemas | None = None) -> None:
        self._binding = binding
        self._schemas = schemas
        self._table = binding.source.table
        self._fields = binding.partition_fields
        self._key = frozenset(binding.source.key or ())
        self._wrapped = lru_cache(_SCHEMAS)(lambda schema: binding.placer(_kinds(schema)))
        self._learned = lru_cache(_SCHEMAS)(
            lambda schema: binding.placer(kinds_of(schema, "after"))
        )
        self._plain: Placer = binding.placer({})

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
            message = _decoder.decode(value)
        except (ValueError, RecursionError) as error:
            raise InvalidEvent(f"not a Debezium event: {error}") from error
        if message.payload is UNSET:
            return self._events(message, place) if message.op else _marks(parse_json(value))
        if message.payload is None:
            return []
        return self._events(message.payload, self._wrapped(bytes(message.schema)))

    def _record(self, record: dict[str, Any], place: Placer) -> list[SourceEvent]:
        try:
            change = msgspec.convert(record, Change[Any])
        except msgspec.ValidationError as error:
            raise InvalidEvent(f"not a Debezium event: {error}") from error
        return self._events(change, place) if change.op else _marks(record)

    def _events(self, change: Change[Any], place: Placer) -> list[SourceEvent]:
        """What a change comes to: one event, or none."""
        if self._table is not None and self._table != _table(change):
            return []
        event = self._event(change, place)
        return [] if event is None else [event]

    def _event(self, change: Change[Any], place: Placer) -> SourceEvent | None:
        event, before, after = self._binding.event, change.before, change.after
        match change.op:
            case "u" if after is not None:
                return self._updated(before, after, place)
            case "c" | "r" if after is not None:
                return event(place(after), reason="arrival")
            case "d":
                return event(self._was(before, place))
            case "t":
                return event(_ANYWHERE)
            case "m":  # a message of somebody's own in the log
                return None
            case "u" | "c" | "r":
                raise InvalidEvent(f"op {change.op!r} without `after`: there is no row in it")
        raise InvalidEvent(f"op {change.op!r} is none of c, u, d, r, t, m: is this Debezium's?")

    def _updated(self, before: Row | None, after: Row, place: Placer) -> SourceEvent | None:
        if before is None:
            there = place(after) if self._key.issuperset(self._fields) else _ANYWHERE
            return self._binding.event(there, unsure=_NO_BEFORE)
        for field in self._fields:
            if before.get(field) != after.get(field) and not _unavailable(after.get(field)):
                return self._moved(before, after, place)
        return self._changed(before, after, place(before))

    def _moved(self, before: Row, after: Row, place: Placer) -> SourceEvent | None:
        """A row whose partition fields changed, though it may have stayed in its partition."""
        kept = {each: before.get(each) for each in self._fields if _unavailable(after.get(each))}
        old, new = self._was(before, place), place({**after, **kept})
        if old == new and old.unsure is None:
            return self._changed(before, after, new)
        return self._binding.event(old, new)

    def _changed(self, before: Row, after: Row, there: Place) -> SourceEvent | None:
        pairs = self._binding.pairs or self._binding.every(before, after)
        changed = [
            (field, column)
            for field, column in pairs
            if before.get(field, _BEFORE) != (cell := after.get(field, _AFTER))
            and not _unavailable(cell)
        ]
        if not changed:
            return None
        unsure = None
        for field, column in changed:
            if field not in after:
                unsure = f"records have no field {field!r}, which is column {column!r}"
        columns = tuple([column for _, column in changed])
        return self._binding.event(there, columns=columns, unsure=unsure)

    def _was(self, before: Row | None, place: Placer) -> Place:
        """Where a row was. What the log does not tell of it is null, or a zero if null is none."""
        if before is None:
            return Place(None, _NO_BEFORE)
        told = {each: before.get(each) for each in self._fields}
        sure = {each: told[each] for each in told if each in self._key or not _zero(told[each])}
        found = place(sure)
        return found if len(sure) == len(told) else found._replace(unsure=_DOUBTED)


def _table(change: Change[Any]) -> str:
    source = change.source
    if source is None or source.table is None:
        raise InvalidEvent("it has no `source.table`: leave it in, or drop `table` in the DAG file")
    return f"{source.schema or source.db}.{source.table}"


def _unavailable(cell: Any) -> bool:
    """Whether it stands for a large value that the update let be."""
    if type(cell) is Raw:
        return bytes(cell) in _UNAVAILABLES_JSON
    return cell in _UNAVAILABLES


def _zero(cell: Any) -> bool:
    value = value_of(cell)
    if isinstance(value, str | date):
        return str(value).startswith(_EPOCH) or value in _ZEROS or not str(value).strip("0.")
    return not value or value in _ZEROS


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
