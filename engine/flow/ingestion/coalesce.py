"""Coalesce events about one scope into a single invalidation, with their count and a sample."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any
from uuid import UUID

import msgspec

from engine.flow.ingestion.resolve import Resolved, request_of
from engine.model.event import Received, SourceEvent, request_hash
from engine.planner import MOST_LOOKED_UP
from engine.planner.bounds import OpenEnds, union_by_open_ends
from engine.planner.scope import GROWTH

_MOST_LISTED = 50
"""Limit on the ids, partitions and columns listed in a summary."""
_MAX_ROWS_BYTES = 2_000


@dataclass(frozen=True, slots=True)
class CoalescedInvalidation:
    """A stale scope of one dataset version; ``texts`` are its partition ranges.

    ``request`` is the position of a manual request, and ``key`` its idempotency key.
    """

    dataset: UUID
    version: UUID
    is_current: bool
    reason: str
    texts: tuple[str | None, ...]
    columns: frozenset[str] | None
    rows: dict[str, Any] | None
    events: int
    source_event: dict[str, Any]
    request: str | None = None
    key: str | None = None
    request_hash: str | None = None
    fingerprint: str | None = None


def coalesce(resolved: Sequence[Resolved]) -> list[CoalescedInvalidation]:
    """Merge events that differ only in their partitions, and fold covered events into wider ones.

    An event of a manual request is never merged with others: its idempotency key identifies that
    request alone.
    """
    groups: defaultdict[_Kind, list[Resolved]] = defaultdict(list)
    contradicted = _with_several_fingerprints(resolved)
    for events in resolved:
        kind = _Kind.of(events)
        is_certain = kind.dataset not in contradicted
        groups[kind if is_certain else replace(kind, fingerprint=None)].append(events)
    for kind in [kind for kind in groups if kind.is_narrow]:
        _absorb(groups, kind)
    return [_coalesced(group, kind.fingerprint) for kind, group in groups.items()]


def _with_several_fingerprints(resolved: Sequence[Resolved]) -> set[UUID]:
    """Return the datasets with events that may differ in their fingerprints for one partition.

    Merged events lose their order, so that the last fingerprint is unknown.
    """
    given: defaultdict[UUID, set[str | None]] = defaultdict(set)
    for events in resolved:
        given[events.dataset.id].add(_fingerprint(events))
    mixed = {dataset for dataset, fingerprints in given.items() if len(fingerprints) > 1}
    seen: dict[tuple[UUID, str], str | None] = {}
    several: set[UUID] = set()
    for events in resolved:
        dataset, fingerprint = events.dataset.id, _fingerprint(events)
        if dataset in mixed - several:
            keys = _few_keys(events)
            if keys is None or any(
                seen.setdefault((dataset, key), fingerprint) != fingerprint for key in keys
            ):
                several.add(dataset)
    return several


def _fingerprint(events: Resolved) -> str | None:
    """Return the fingerprint of events; None if they describe columns or rows only.

    Another event with the same fingerprint may describe the other ones.
    """
    is_narrow = events.columns is not None or events.rows is not None
    return None if is_narrow else events.event.fingerprint


def _few_keys(events: Resolved) -> list[str] | None:
    """Return the partitions of events; None if they are too many, or unknown."""
    sets = events.partitions or ()
    if not sets or any(not each.is_finite or each.count() > MOST_LOOKED_UP for each in sets):
        return None
    return [key for each in sets for key in events.space.keys(each)]


@dataclass(frozen=True, slots=True)
class _Kind:
    """Attributes shared by all events merged into one invalidation."""

    dataset: UUID
    version: UUID
    reason: str
    columns: frozenset[str] | None
    rows: bytes | None
    request: str | None
    fingerprint: str | None

    @staticmethod
    def of(events: Resolved) -> "_Kind":
        rows = None if events.rows is None else msgspec.json.encode(events.rows, order="sorted")
        request = request_of(events.received[0])
        return _Kind(
            events.dataset.id,
            events.version,
            events.event.reason,
            events.columns,
            rows,
            request,
            _fingerprint(events),
        )

    @property
    def is_narrow(self) -> bool:
        return self.request is None and (self.columns is not None or self.rows is not None)


def _absorb(groups: defaultdict[_Kind, list[Resolved]], kind: _Kind) -> None:
    """Fold narrow events into the group for all columns and rows of the same partitions.

    Added rows matching a filter are kept separate: readers may already have moved their cursors
    past them, so an event about added rows in general does not cover them.
    """
    if kind.rows is not None and kind.reason in GROWTH:
        return
    wide = groups.get(replace(kind, columns=None, rows=None))
    if wide:
        has_whole, named = _has_whole_dataset(wide), _named_partitions(wide)
        for events in groups.pop(kind):
            is_covered = has_whole if events.partitions is None else _covers(named, events)
            (wide if is_covered else groups[kind]).append(events)


def _has_whole_dataset(group: Sequence[Resolved]) -> bool:
    """Return True if one of the events is about the whole dataset, as it exists so far.

    Such an event does not cover a partition named by another event, since that one may be new.
    """
    return any(events.partitions is None for events in group)


def _named_partitions(group: Sequence[Resolved]) -> OpenEnds:
    """Return the partitions named by the events.

    An unbounded dimension stands for the keys that exist so far, so a set with one does not cover a
    key named by another event.
    """
    return union_by_open_ends(
        partitions for events in group for partitions in events.partitions or ()
    )


def _covers(named: OpenEnds, events: Resolved) -> bool:
    others = union_by_open_ends(events.partitions or ())
    return all(
        open_ends in named and named[open_ends].covers(partitions)
        for open_ends, partitions in others.items()
    )


def _coalesced(group: Sequence[Resolved], fingerprint: str | None) -> CoalescedInvalidation:
    sample = group[0]
    received = [event for events in group for event in events.received]
    request = request_of(received[0])
    whole: list[str | None] = [None] if _has_whole_dataset(group) else []
    named = _named_partitions(group).values()
    return CoalescedInvalidation(
        dataset=sample.dataset.id,
        version=sample.version,
        is_current=sample.is_current,
        reason=sample.event.reason,
        texts=(*whole, *(text for each in named for text in sample.space.texts(each))),
        columns=sample.columns,
        rows=sample.rows,
        events=_count(received),
        source_event=_summary(received),
        request=request,
        key=None if request is None else sample.event.id,
        request_hash=None if request is None else request_hash(sample.event),
        fingerprint=fingerprint,
    )


def _count(received: Iterable[Received]) -> int:
    return sum(event.count for event in received)


def _summary(received: Sequence[Received]) -> dict[str, Any]:
    """Summarize the events for `explain`: the first in full, the rest by position and id.

    ``first`` and ``last`` are positions in ``stream``; ``streams`` lists all streams if there are
    several. ``by`` is the user who requested a manual change.
    """
    stream, ranges = received[0].stream, _stream_ranges(received)
    ids = (id_ for event in received for id_ in event.ids if id_ is not None)
    return {
        "count": _count(received),
        "stream": stream,
        "first": ranges[stream]["first"],
        "last": ranges[stream]["last"],
        **({"streams": ranges} if len(ranges) > 1 else {}),
        "ids": list(islice(ids, _MOST_LISTED)),
        "event": _abbreviated(received[0].event),
        **({} if received[0].by is None else {"by": received[0].by}),
    }


def _abbreviated(event: SourceEvent) -> dict[str, Any]:
    """Return the event with long lists shortened, since its invalidations contain them in full.

    Every invalidation of an event stores a copy, and an event may have thousands.
    """
    kept: dict[str, Any] = msgspec.to_builtins(event)
    for name in ("partitions", "columns"):
        if len(kept[name] or ()) > _MOST_LISTED:
            kept[f"{name}_count"] = len(kept[name])
            kept[name] = kept[name][:_MOST_LISTED]
    if event.rows and len(msgspec.json.encode(event.rows)) > _MAX_ROWS_BYTES:
        kept["rows"] = None
    return kept


def _stream_ranges(received: Iterable[Received]) -> dict[str, dict[str, Any]]:
    """Return the event count and the first and last position of each stream."""
    by_stream: defaultdict[str, list[Received]] = defaultdict(list)
    for event in received:
        by_stream[event.stream].append(event)
    return {
        stream: {
            "count": _count(events),
            "first": min((event.deliveries[0].position for event in events), key=_ordinal),
            "last": max((event.deliveries[-1].position for event in events), key=_ordinal),
        }
        for stream, events in by_stream.items()
    }


def _ordinal(position: str) -> tuple[int, str]:
    """Return a sort key that orders positions numerically."""
    return len(position), position
