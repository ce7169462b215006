"""Coalesce events about one scope into a single invalidation, with their count and a sample."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any
from uuid import UUID

import msgspec

from engine.flow.ingestion.resolve import Resolved, request_of
from engine.model.event import MANUAL, Received, SourceEvent, request_hash
from engine.partitions import PartitionSet
from engine.planner.scope import GROWTH

_WITNESSES = 50
_MAX_ROWS_BYTES = 2_000


@dataclass(frozen=True, slots=True)
class CoalescedInvalidation:
    """A stale scope of one dataset version; ``texts`` are its partition ranges."""

    dataset: UUID
    version: UUID
    served: bool
    reason: str
    texts: tuple[str | None, ...]
    columns: frozenset[str] | None
    rows: dict[str, Any] | None
    events: int
    source_event: dict[str, Any]
    key: str | None = None
    request_hash: str | None = None


def coalesce(resolved: Sequence[Resolved]) -> list[CoalescedInvalidation]:
    """Merge events that differ only in their partitions, and fold covered events into wider ones.

    An event of a manual request is never merged with others: its idempotency key identifies that
    request alone.
    """
    groups: defaultdict[_Kind, list[Resolved]] = defaultdict(list)
    for each in resolved:
        groups[_kind(each)].append(each)
    for kind in [kind for kind in groups if kind.is_narrow]:
        _absorb(groups, kind)
    return [_coalesced(group) for group in groups.values()]


@dataclass(frozen=True, slots=True)
class _Kind:
    """Attributes shared by all events merged into one invalidation."""

    dataset: UUID
    version: UUID
    reason: str
    columns: frozenset[str] | None
    rows: bytes | None
    request: str | None

    @property
    def is_narrow(self) -> bool:
        return self.request is None and (self.columns is not None or self.rows is not None)


def _kind(each: Resolved) -> _Kind:
    event = each.event
    rows = None if each.rows is None else msgspec.json.encode(each.rows, order="sorted")
    request = request_of(each.received[0])
    return _Kind(each.dataset.id, each.version, event.reason, each.columns, rows, request)


def _absorb(groups: defaultdict[_Kind, list[Resolved]], kind: _Kind) -> None:
    """Fold narrow events into the group for all columns and rows of the same partitions.

    Added rows matching a filter are kept separate: readers may already have moved their cursors
    past them, so an event about added rows in general does not cover them.
    """
    if kind.rows is not None and kind.reason in GROWTH:
        return
    wide = groups.get(replace(kind, columns=None, rows=None))
    if wide:
        all_said, named = _is_all_said(wide), _named(wide)
        for each in groups.pop(kind):
            inside = all_said if each.partitions is None else named.covers(each.partitions)
            (wide if inside else groups[kind]).append(each)


def _is_all_said(group: Sequence[Resolved]) -> bool:
    """Return True if one of the events is about the whole dataset, as it exists so far.

    Such an event does not cover a partition named by another event, since that one may be new.
    """
    return any(each.partitions is None for each in group)


def _named(group: Sequence[Resolved]) -> PartitionSet:
    """Return the union of the partitions named by the events."""
    named = [each.partitions for each in group if each.partitions is not None]
    return PartitionSet.union([group[0].space.empty, *named])


def _texts(group: Sequence[Resolved]) -> tuple[str | None, ...]:
    whole: tuple[str | None, ...] = (None,) if _is_all_said(group) else ()
    return whole + tuple(group[0].space.texts(_named(group)))


def _coalesced(group: Sequence[Resolved]) -> CoalescedInvalidation:
    sample = group[0]
    received = [each for alike in group for each in alike.received]
    manual = received[0].stream == MANUAL
    return CoalescedInvalidation(
        dataset=sample.dataset.id,
        version=sample.version,
        served=sample.served,
        reason=sample.event.reason,
        texts=_texts(group),
        columns=sample.columns,
        rows=sample.rows,
        events=_count(received),
        source_event=_witness(received),
        key=sample.event.id if manual else None,
        request_hash=request_hash(sample.event) if manual else None,
    )


def _count(received: Iterable[Received]) -> int:
    return sum(each.count for each in received)


def _witness(received: Sequence[Received]) -> dict[str, Any]:
    """Summarize the events for `explain`: the first in full, the rest by position and id.

    ``first`` and ``last`` are positions in ``stream``; ``streams`` lists all streams if there are
    several.
    """
    stream, places = received[0].stream, _places(received)
    ids = (id_ for each in received for id_ in each.ids if id_ is not None)
    return {
        "count": _count(received),
        "stream": stream,
        "first": places[stream]["first"],
        "last": places[stream]["last"],
        **({"streams": places} if len(places) > 1 else {}),
        "ids": list(islice(ids, _WITNESSES)),
        "event": _abbreviated(received[0].event),
    }


def _abbreviated(event: SourceEvent) -> dict[str, Any]:
    """Return the event with long lists shortened, since its invalidations hold them in full.

    Every invalidation of an event stores a copy, and an event may have thousands.
    """
    kept: dict[str, Any] = msgspec.to_builtins(event)
    for name in ("partitions", "columns"):
        if len(kept[name] or ()) > _WITNESSES:
            kept[f"{name}_count"] = len(kept[name])
            kept[name] = kept[name][:_WITNESSES]
    if event.rows and len(msgspec.json.encode(event.rows)) > _MAX_ROWS_BYTES:
        kept["rows"] = None
    return kept


def _places(received: Iterable[Received]) -> dict[str, dict[str, Any]]:
    """Return the event count and the first and last position of each stream."""
    by_stream: defaultdict[str, list[Received]] = defaultdict(list)
    for each in received:
        by_stream[each.stream].append(each)
    return {
        stream: {
            "count": _count(those),
            "first": min((each.deliveries[0].position for each in those), key=_ordinal),
            "last": max((each.deliveries[-1].position for each in those), key=_ordinal),
        }
        for stream, those in by_stream.items()
    }


def _ordinal(position: str) -> tuple[int, str]:
    """Return a sort key that orders positions numerically."""
    return len(position), position
