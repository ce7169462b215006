"""Debezium's change events: a row as it was and as it is.

Source: Debezium 3.6's PostgreSQL connector; `tests/support/debezium` holds what it said. An update
makes dirty only the columns whose values differ. What an event does not tell counts as changed.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import ne
from typing import Any, Generic, TypeVar, cast

import msgspec
from msgspec import UNSET, Raw, UnsetType

from consumers.formats.binding import Binding, Cells, Place
from consumers.formats.body import parse_json
from consumers.formats.confluent import Schemas
from consumers.formats.connect import Fields, declared_fields
from consumers.formats.debezium_rows import DOUBTED, RowShape
from consumers.formats.placeholders import USUAL, Placeholders
from consumers.formats.rows import MISSING, Difference, Layout, rows_of, value_of
from engine.errors import InvalidEvent
from engine.model.event import SourceEvent

Row = TypeVar("Row")
Cell = TypeVar("Cell")

_ANYWHERE = Place(None)
_NO_BEFORE = "the row as it was is not told; let the table have REPLICA IDENTITY FULL"

_BOUNDS = ("BEGIN", "END")
_SCHEMAS = 64
_SCOPES = 4096


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


class Debezium:
    """The format of a topic of Debezium's; `Binding` says what its rows are."""

    def __init__(self, binding: Binding, schemas: Schemas | None = None) -> None:
        self._binding = binding
        self._schemas = schemas
        self._table = binding.source.table
        self._rows = rows_of(binding)
        self._decoder = msgspec.json.Decoder(_of(_Message, self._rows.json, Raw))
        self._plain_type = _of(_Change, self._rows.plain, Any)
        self._key = frozenset(binding.source.key or ())
        self._placeholders = Placeholders(binding.source.placeholder or USUAL)
        self._wrapped = lru_cache(_SCHEMAS)(
            lambda schema: self._shaped(declared_fields(schema, "after"))
        )
        self._learned = lru_cache(_SCHEMAS)(lambda schema: self._shaped(schema.fields("after")))
        self._plain = self._shaped({})
        self._of_columns = lru_cache(_SCOPES)(
            lambda there, difference: binding.event(there, columns=difference.columns)
        )

    def _shaped(self, fields: Fields) -> RowShape:
        is_full = self._binding.source.before == "full"
        return RowShape(self._binding, fields, self._placeholders, is_full=is_full)

    def __call__(
        self, value: bytes | None, headers: Mapping[str, str], dataset: str | None
    ) -> list[SourceEvent]:
        """See `Format`. A tombstone, a heartbeat or the mark of a transaction says nothing."""
        if value is None:
            return []
        if self._schemas is None:
            return self._json(value, self._plain)
        schema, payload = self._schemas.unwrap(value)
        body, shape = schema.read(payload), self._learned(schema)
        return self._json(body, shape) if isinstance(body, bytes) else self._record(body, shape)

    def _json(self, value: bytes, shape: RowShape) -> list[SourceEvent]:
        try:
            message = self._decoder.decode(value)
        except (ValueError, RecursionError) as error:
            raise InvalidEvent(f"not a Debezium event: {error}") from error
        if message.payload is UNSET:
            if not message.op:
                return _marks(parse_json(value))
            return self._events(message, shape, lambda: parse_json(value)["before"])
        if message.payload is None:
            return []
        shape = self._wrapped(bytes(message.schema))
        return self._events(message.payload, shape, lambda: parse_json(value)["payload"]["before"])

    def _record(self, record: dict[str, Any], shape: RowShape) -> list[SourceEvent]:
        try:
            change = msgspec.convert(record, self._plain_type)
        except msgspec.ValidationError as error:
            raise InvalidEvent(f"not a Debezium event: {error}") from error
        if not change.op:
            return _marks(record)
        return self._events(change, shape, lambda: record["before"])

    def _events(
        self, change: _Change[Any, Any], shape: RowShape, before: Callable[[], Mapping[str, Any]]
    ) -> list[SourceEvent]:
        """What a change comes to: one event, or none. ``before`` gives all fields of `before`."""
        if self._table is not None and self._table != _table(change):
            return []
        if change.op == "u" and change.after is not None:
            event = self._updated(change.before, change.after, shape, before)
        elif change.op == "d":
            event = self._binding.event(self._was(change.before, shape, before))
        else:
            event = self._event(change, shape)
        return [] if event is None else [event]

    def _event(self, change: _Change[Any, Any], shape: RowShape) -> SourceEvent | None:
        """What anything but an update or a deletion says."""
        event, after = self._binding.event, change.after
        match change.op:
            case "c" | "r" if after is not None:
                return event(shape.place(self._rows.place(after)), reason="arrival")
            case "t":
                return event(_ANYWHERE)
            case "m":  # a message of somebody's own in the log
                return None
            case "u" | "c" | "r":
                raise InvalidEvent(f"op {change.op!r} without `after`: there is no row in it")
        raise InvalidEvent(f"op {change.op!r} is none of c, u, d, r, t, m: is this Debezium's?")

    def _updated(
        self, before: Any, after: Any, shape: RowShape, whole: Callable[[], Mapping[str, Any]]
    ) -> SourceEvent | None:
        if before is None:
            stays = self._key.issuperset(self._binding.partition_fields)
            where = shape.place(self._rows.place(after)) if stays else _ANYWHERE
            return self._binding.event(where, unsure=_NO_BEFORE)
        layout, was, now = self._rows.both(before, after)
        differs = tuple(map(ne, was, now))
        here = was[: layout.keys]
        is_key_in_doubt = False
        doubted: tuple[int, ...] = ()
        if not shape.doubts.is_settled:
            is_key_in_doubt = shape.is_key_in_doubt(here)
            doubted = shape.in_doubt(layout, was, differs)
            is_doubtful = is_key_in_doubt or bool(doubted)
            if is_doubtful and shape is not shape.full and shape.is_whole(whole):
                return self._updated(before, after, shape.full, whole)
        difference = layout.difference(differs)
        there = tuple(map(self._told, here, now)) if difference.is_elsewhere else here
        if there != here or is_key_in_doubt:
            old, new = self._was(before, shape, whole), shape.place(there)
            if old != new or old.unsure:
                return self._binding.event(old, new)
        return self._changed(layout, difference, doubted, now, shape.place(here))

    def _changed(
        self,
        layout: Layout,
        difference: Difference,
        doubted: tuple[int, ...],
        now: Cells,
        there: Place,
    ) -> SourceEvent | None:
        if not (difference.columns or doubted):
            return None
        if doubted:
            return self._in_part(layout, (*difference.at, *doubted), now, there, DOUBTED)
        for at in difference.at:
            if now[at] is MISSING or now[at] in self._placeholders:
                return self._in_part(layout, difference.at, now, there)
        return self._of_columns(there, difference)

    def _in_part(
        self,
        layout: Layout,
        places: tuple[int, ...],
        now: Cells,
        there: Place,
        unsure: str | None = None,
    ) -> SourceEvent | None:
        """The same of a row that does not tell all of its cells."""
        told = [at for at in sorted(places) if now[at] not in self._placeholders]
        if not told:
            return None
        for at in told:
            if now[at] is MISSING:
                field, column = layout.fields[at], layout.column(at)
                unsure = f"records have no field {field!r}, which is column {column!r}"
        columns = tuple([layout.column(at) for at in told])
        return self._binding.event(there, columns=columns, unsure=unsure)

    def _was(self, before: Any, shape: RowShape, whole: Callable[[], Mapping[str, Any]]) -> Place:
        """Where a row was, as far as the log tells."""
        if before is None:
            return Place(None, _NO_BEFORE)
        return shape.place_before(self._rows.place(before), whole)

    def _told(self, was: Any, now: Any) -> Any:
        """A cell as it is, where the update tells it."""
        return was if now in self._placeholders else now


def _table(change: _Change[Any, Any]) -> str:
    try:
        source = msgspec.convert(value_of(change.source), _Table | None)
    except msgspec.ValidationError as error:
        raise InvalidEvent(f"not a Debezium event: {error} - in `$.source`") from error
    if source is None or source.table is None:
        raise InvalidEvent("it has no `source.table`: leave it in, or drop `table` in the DAG file")
    return f"{source.schema or source.db}.{source.table}"


def _marks(body: Any) -> list[SourceEvent]:
    """No events, if it is a heartbeat or the beginning or end of a transaction."""
    if isinstance(body, dict) and (body.keys() == {"ts_ms"} or body.get("status") in _BOUNDS):
        return []
    raise InvalidEvent(
        "not a Debezium event: it has no `op`; if a transform made plain rows of the events, let "
        "it be, for they do not tell what changed"
    )
