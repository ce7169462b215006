"""Validate source events against the datasets they name."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from engine.errors import InvalidEvent, InvalidFilter, InvalidPartition, UnknownName
from engine.lineage.graph import Lineage
from engine.lineage.narrowing import certain, named_by
from engine.lineage.rows import RowFilter
from engine.model.dataset import Dataset
from engine.model.event import MANUAL, POSTGRES, Received, SourceEvent, scope_of
from engine.partitions import PartitionSet, PartitionSpace
from engine.planner.bounds import union_by_open_ends
from engine.planner.scope import GROWTH


@dataclass(frozen=True, slots=True)
class Resolved:
    """Validated events of one scope; ``event`` is the first of them.

    ``partitions`` are sets that differ in their unbounded dimensions; None means the whole dataset.
    ``rows`` without conditions: all of them were dropped. ``is_current`` is False for events of an
    earlier dataset version.
    """

    received: tuple[Received, ...]
    dataset: Dataset
    space: PartitionSpace
    version: UUID
    is_current: bool
    partitions: tuple[PartitionSet, ...] | None
    columns: frozenset[str] | None
    rows: dict[str, Any] | None

    @property
    def event(self) -> SourceEvent:
        """Event that represents all of them; the others differ only in annotations for people."""
        return self.received[0].event


def by_scope(received: Iterable[Received]) -> Iterable[list[Received]]:
    """Group events with the same scope, so that each scope is resolved once.

    A manual request forms a separate group, because no other event shares its idempotency key.
    """
    groups: defaultdict[object, list[Received]] = defaultdict(list)
    for event in received:
        groups[scope_of(event.event), request_of(event)].append(event)
    return groups.values()


def request_of(received: Received) -> str | None:
    """Return the position that identifies a manual request; None for other events."""
    return received.deliveries[0].position if received.stream == MANUAL else None


def resolve(
    lineage: Lineage, *received: Received, earlier: Mapping[UUID, Collection[str]] | None = None
) -> Resolved:
    """Validate events of one scope. Raises InvalidInput naming the invalid part.

    ``earlier`` maps datasets to the columns of all their versions; if given, unknown columns are no
    error. A removed column is read only by readers of all columns. Any other unknown name may be
    another spelling of any column, so all columns count as changed.
    """
    event = received[0].event
    has_conditions = event.rows is not None
    dataset = lineage.dataset_named(event.dataset)
    space = lineage.space(dataset.id)
    version = _version(dataset, event.version)
    known = known_columns(dataset, space)
    if earlier is not None and (unknown := unknown_columns(lineage, received[0])):
        received = tuple(
            _widened(event, unknown, earlier.get(dataset.id, ())) for event in received
        )
        event, known = received[0].event, None
    _check_fingerprint(lineage, dataset, event)
    rows = _rows(known, event.rows)
    if rows is None and has_conditions and event.reason in GROWTH:
        rows = {}  # null would mean rows past the cursors of readers
    is_of_table = received[0].stream.startswith(POSTGRES)
    return Resolved(
        received=received,
        dataset=dataset,
        space=space,
        version=version,
        is_current=version == dataset.version,
        partitions=_partitions(dataset, space, event, rows, is_of_table=is_of_table),
        columns=_columns(dataset, None if is_of_table else known, event.columns),
        rows=rows,
    )


def unknown_columns(lineage: Lineage, received: Received) -> frozenset[str]:
    """Return the columns that an event names and its dataset lacks. Raises UnknownName.

    Empty for events of a table: its unlisted columns are read only by readers of all columns.
    """
    event = received.event
    if received.stream.startswith(POSTGRES) or not (event.columns or event.rows):
        return frozenset()
    dataset = lineage.dataset_named(event.dataset)
    known = known_columns(dataset, lineage.space(dataset.id))
    named = frozenset(event.columns or ()) | frozenset(event.rows or ())
    return frozenset() if known is None else named - known


def _widened(received: Received, unknown: frozenset[str], earlier: Collection[str]) -> Received:
    """Drop conditions on unknown columns, and widen the event to all columns if necessary."""
    event = received.event
    rows = {name: value for name, value in (event.rows or {}).items() if name not in unknown}
    columns = event.columns
    if columns is not None and not unknown.isdisjoint(set(columns) - {*earlier}):
        columns = None
    note = f"unknown columns: {', '.join(sorted(unknown))}"
    changed = msgspec.structs.replace(
        event, rows=rows or None, columns=columns, note=event.note or note
    )
    return msgspec.structs.replace(received, event=changed)


def _check_fingerprint(lineage: Lineage, dataset: Dataset, event: SourceEvent) -> None:
    is_source = lineage.producer(dataset.id).is_source
    if event.fingerprint is not None and not is_source:
        raise InvalidEvent(
            f"an event of dataset {dataset.name!r} has a fingerprint, but a job produces the "
            "dataset: omit it"
        )


def _version(dataset: Dataset, text: str | None) -> UUID:
    if text is None:
        return dataset.version
    try:
        return UUID(text)
    except ValueError:
        raise InvalidEvent(
            f"version {text!r} of dataset {dataset.name!r} is not a UUID: "
            "omit it for the current version"
        ) from None


def _partitions(
    dataset: Dataset,
    space: PartitionSpace,
    event: SourceEvent,
    rows: dict[str, Any] | None,
    *,
    is_of_table: bool,
) -> tuple[PartitionSet, ...] | None:
    """Return the partitions that the event names, explicitly or by conditions on their columns.

    The triggers of a table have the bounds of the time at which it was attached. Of the partitions
    that they name, those outside the bounds of now are left out, unless all are.
    """
    texts = event.partitions
    if texts is None:
        changed = None if event.columns is None else frozenset(event.columns)
        conditions = certain(RowFilter.parse(rows or {}), space, dataset.columns, changed)
        named = named_by(conditions, space)
        return None if named is None else (named,)
    if not texts:
        raise InvalidEvent("partitions is empty: name at least one, or omit it for all")
    try:
        together = space.parse(texts[0]) if len(texts) == 1 else space.from_keys(texts)
        if together.is_finite:
            return (together,)
        return tuple(union_by_open_ends(map(space.parse, texts)).values())
    except InvalidPartition:
        inside = list(_within_bounds(space, texts)) if is_of_table else []
        if not inside:
            raise
        return tuple(union_by_open_ends(inside).values())


def _within_bounds(space: PartitionSpace, texts: Iterable[str]) -> Iterator[PartitionSet]:
    """Yield the parts within the bounds of partitions named in any bounds of the same grid."""
    unlimited = space.unlimited()
    for text in texts:
        if part := space.part_of(unlimited.parse(text)):
            yield part


def _columns(
    dataset: Dataset, known: frozenset[str] | None, names: tuple[str, ...] | None
) -> frozenset[str] | None:
    if names is None:
        return None
    if not names:
        raise InvalidEvent("columns is empty: name at least one, or omit it if they are unknown")
    unknown = [] if known is None else sorted(set(names) - known)
    if unknown:
        raise UnknownName(
            f"dataset {dataset.name!r} has no column {', '.join(unknown)}: "
            f"it has {', '.join(sorted(known or ()))}"
        )
    return frozenset(names)


def known_columns(dataset: Dataset, space: PartitionSpace) -> frozenset[str] | None:
    """Return the declared columns and the partition columns; None if no columns are declared."""
    if dataset.columns is None:
        return None
    partitioned_by = {dimension.column or name for name, dimension in space.dimensions}
    return frozenset(dataset.columns) | partitioned_by | set(space.names)


def _rows(known: frozenset[str] | None, spec: dict[str, Any] | None) -> dict[str, Any] | None:
    if spec is None:
        return None
    if not spec:
        raise InvalidFilter("rows is empty: name a column, or omit it for all rows")
    return RowFilter.parse(spec, known).spec()
