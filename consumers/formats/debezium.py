"""Debezium's change events: a row before and after a change.

Source: Debezium 3.6's PostgreSQL connector; `tests/support/debezium` contains recorded events. An
update changes only the columns whose values differ. Values missing from an event count as changed.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import ne
from typing import Any, Generic, TypeVar, cast

import msgspec
from msgspec import UNSET, Raw, UnsetType

from consumers.formats.binding import Binding, Cells, RowPartition
from consumers.formats.body import parse_json
from consumers.formats.confluent import Schemas
from consumers.formats.connect import Fields, declared_fields
from consumers.formats.debezium_rows import INCOMPLETE_BEFORE, RowShape
from consumers.formats.placeholders import DEFAULT, Placeholders
from consumers.formats.rows import MISSING, Difference, Layout, rows_of, value_of
from engine.errors import InvalidEvent
from engine.model.event import SourceEvent
from engine.model.states import Reason

Row = TypeVar("Row")
Cell = TypeVar("Cell")

_ALL_PARTITIONS = RowPartition(None)
_NO_BEFORE = "the event has no `before`; set REPLICA IDENTITY FULL on the table"

_TRANSACTION_STATUS = ("BEGIN", "END")
_SCHEMAS = 64
_SCOPES = 4096


class _Table(msgspec.Struct, frozen=True):
    schema: str | None = None
    db: str | None = None  # set by databases without schemas
    table: str | None = None


class _Change(msgspec.Struct, Generic[Row, Cell], gc=False):
    """The payload of an event."""

    op: str | None = None
    before: Row | None = None
    after: Row | None = None
    source: Cell = cast("Any", None)


class _Message(_Change[Row, Cell], Generic[Row, Cell], gc=False):
    """A payload, by itself or in an envelope with its schema."""

    payload: _Change[Row, Cell] | UnsetType | None = UNSET
    schema: Raw = Raw(b"null")


def _parametrized(generic: Any, row: Any, cell: Any) -> Any:
    """A generic struct for rows of a type that is only determined at run time, by the binding."""
    return generic[row, cell]


class Debezium:
    """The format of a topic of Debezium's change events."""

    def __init__(self, binding: Binding, schemas: Schemas | None = None) -> None:
        self._binding = binding
        self._schemas = schemas
        self._table = binding.source.table
        self._rows = rows_of(binding)
        self._decoder = msgspec.json.Decoder(_parametrized(_Message, self._rows.json, Raw))
        self._plain_type = _parametrized(_Change, self._rows.plain, Any)
        self._key = frozenset(binding.source.key or ())
        self._placeholders = Placeholders(binding.source.placeholder or DEFAULT)
        self._wrapped = lru_cache(_SCHEMAS)(
            lambda schema: self._shape(declared_fields(schema, "after"))
        )
        self._registered = lru_cache(_SCHEMAS)(lambda schema: self._shape(schema.fields("after")))
        self._plain = self._shape({})
        self._of_columns = lru_cache(_SCOPES)(
            lambda partition, difference: binding.event(partition, columns=difference.columns)
        )

    def _shape(self, fields: Fields) -> RowShape:
        is_full = self._binding.source.before == "full"
        return RowShape(self._binding, fields, self._placeholders, is_full=is_full)

    def __call__(
        self, value: bytes | None, headers: Mapping[str, str], dataset: str | None
    ) -> list[SourceEvent]:
        """See `Format`. Tombstones, heartbeats and transaction markers give no events."""
        if value is None:
            return []
        if self._schemas is None:
            return self._json(value, self._plain)
        schema, payload = self._schemas.unwrap(value)
        body, shape = schema.read(payload), self._registered(schema)
        return self._json(body, shape) if isinstance(body, bytes) else self._record(body, shape)

    def _json(self, value: bytes, shape: RowShape) -> list[SourceEvent]:
        try:
            message = self._decoder.decode(value)
        except (ValueError, RecursionError) as error:
            raise InvalidEvent(f"not a Debezium event: {error}") from error
        if message.payload is UNSET:
            if not message.op:
                return _events_without_op(parse_json(value))
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
            return _events_without_op(record)
        return self._events(change, shape, lambda: record["before"])

    def _events(
        self, change: _Change[Any, Any], shape: RowShape, before: Callable[[], Mapping[str, Any]]
    ) -> list[SourceEvent]:
        """The event of a change, if any. ``before`` returns `before` with all of its fields."""
        if self._table is not None and self._table != _table(change):
            return []
        if change.op == "u" and change.after is not None:
            event = self._updated(change.before, change.after, shape, before)
        elif change.op == "d":
            event = self._binding.event(self._old_partition(change.before, shape, before))
        else:
            event = self._event(change, shape)
        return [] if event is None else [event]

    def _event(self, change: _Change[Any, Any], shape: RowShape) -> SourceEvent | None:
        """The event of any operation other than an update or a deletion."""
        event, after = self._binding.event, change.after
        match change.op:
            case "c" | "r" if after is not None:
                partition = shape.partition(self._rows.partition_cells(after))
                # A snapshot contains old rows, which may have changed unnoticed since the last one.
                is_new = change.op == "c"
                return event(partition, reason=Reason.ARRIVAL if is_new else Reason.CHANGE)
            case "t":
                return event(_ALL_PARTITIONS)
            case "m":  # a logical decoding message written by an application
                return None
            case "u" | "c" | "r":
                raise InvalidEvent(
                    f"the event with op {change.op!r} has no `after`: send events unmodified"
                )
        raise InvalidEvent(
            f"op {change.op!r} is none of c, u, d, r, t, m: send Debezium change events"
        )

    def _updated(
        self, before: Any, after: Any, shape: RowShape, full_before: Callable[[], Mapping[str, Any]]
    ) -> SourceEvent | None:
        if before is None:
            partition = _ALL_PARTITIONS
            if self._key.issuperset(self._binding.partition_fields):
                partition = shape.partition(self._rows.partition_cells(after))
            return self._binding.event(partition, uncertainty=_NO_BEFORE)
        layout, was, now = self._rows.both(before, after)
        differs = tuple(map(ne, was, now))
        old_cells = was[: layout.keys]
        is_key_uncertain = False
        uncertain_columns: tuple[int, ...] = ()
        if not shape.ambiguous.is_empty:
            is_key_uncertain = shape.is_key_uncertain(old_cells)
            uncertain_columns = shape.uncertain_columns(layout, was, differs)
            is_uncertain = is_key_uncertain or bool(uncertain_columns)
            if is_uncertain and shape is not shape.full and shape.is_whole(full_before):
                return self._updated(before, after, shape.full, full_before)
        difference = layout.difference(differs)
        new_cells = old_cells
        if difference.changes_partition_field:
            new_cells = tuple(
                # A placeholder stands for the unchanged value.
                old if new in self._placeholders else new
                for old, new in zip(old_cells, now, strict=False)
            )
        if new_cells != old_cells or is_key_uncertain:
            old, new = self._old_partition(before, shape, full_before), shape.partition(new_cells)
            if old != new or old.uncertainty:
                return self._binding.event(old, new)
        return self._changed(layout, difference, uncertain_columns, now, shape.partition(old_cells))

    def _changed(
        self,
        layout: Layout,
        difference: Difference,
        uncertain_columns: tuple[int, ...],
        now: Cells,
        partition: RowPartition,
    ) -> SourceEvent | None:
        """The event of an update within a partition; None if no column changed."""
        if not (difference.columns or uncertain_columns):
            return None
        if uncertain_columns:
            return self._of_cells(
                layout, (*difference.at, *uncertain_columns), now, partition, INCOMPLETE_BEFORE
            )
        for at in difference.at:
            if now[at] is MISSING or now[at] in self._placeholders:
                return self._of_cells(layout, difference.at, now, partition)
        return self._of_columns(partition, difference)

    def _of_cells(
        self,
        layout: Layout,
        indexes: tuple[int, ...],
        now: Cells,
        partition: RowPartition,
        uncertainty: str | None = None,
    ) -> SourceEvent | None:
        """The event of an update with ambiguous cells, placeholders or missing fields."""
        changed = [at for at in sorted(indexes) if now[at] not in self._placeholders]
        if not changed:
            return None
        for at in changed:
            if now[at] is MISSING:
                field, column = layout.fields[at], layout.column(at)
                uncertainty = f"records have no field {field!r}, which is column {column!r}"
        columns = tuple([layout.column(at) for at in changed])
        return self._binding.event(partition, columns=columns, uncertainty=uncertainty)

    def _old_partition(
        self, before: Any, shape: RowShape, full_before: Callable[[], Mapping[str, Any]]
    ) -> RowPartition:
        """The previous partition of a row, as precisely as the log allows."""
        if before is None:
            return RowPartition(None, _NO_BEFORE)
        return shape.partition_before(self._rows.partition_cells(before), full_before)


def _table(change: _Change[Any, Any]) -> str:
    try:
        source = msgspec.convert(value_of(change.source), _Table | None)
    except msgspec.ValidationError as error:
        raise InvalidEvent(f"not a Debezium event: {error} - in `$.source`") from error
    if source is None or source.table is None:
        raise InvalidEvent(
            "the event has no `source.table`: send it, or remove `table` from the DAG file's source"
        )
    return f"{source.schema or source.db}.{source.table}"


def _events_without_op(body: Any) -> list[SourceEvent]:
    """No events for a heartbeat or a transaction marker. Raises InvalidEvent for anything else."""
    if isinstance(body, dict) and (
        body.keys() == {"ts_ms"} or body.get("status") in _TRANSACTION_STATUS
    ):
        return []
    raise InvalidEvent(
        "not a Debezium event: it has no `op`; remove the transform if one turns events into plain "
        "rows, because those do not describe changes"
    )
