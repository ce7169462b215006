"""Coalescing: many events about one scope are one fact, and it remembers how many and which."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import msgspec

from engine.flow.resolve import Resolved
from engine.model.event import Received
from engine.partitions import PartitionSet

MANUAL = "manual"
_NAMED = 50


@dataclass(frozen=True, slots=True)
class Fact:
    """One scope of one dataset version that is stale; ``texts`` are its partition ranges."""

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

    def scope_of(self, text: str | None) -> str:
        """Name the kind of scope: rows of it, some partitions, or the whole dataset."""
        if self.rows is not None:
            return "row_range"
        return "dataset" if text is None else "partition"


def coalesce(resolved: Sequence[Resolved]) -> list[Fact]:
    """Merge events that differ in nothing but their partitions, and drop what a wider one covers.

    An event of a manual request stays by itself, since its idempotency key is for it alone.
    """
    groups: dict[_Kind, list[Resolved]] = defaultdict(list)
    for each in resolved:
        groups[_kind(each)].append(each)
    merged = {kind: _merge(group) for kind, group in groups.items()}
    for kind in [kind for kind in merged if kind.is_narrow]:
        _absorb(merged, kind)
    return [_fact(each) for each in merged.values()]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What two events must have in common to be one fact."""

    dataset: UUID
    version: UUID
    reason: str
    columns: frozenset[str] | None
    rows: bytes | None
    request: str | None

    @property
    def is_narrow(self) -> bool:
        return self.request is None and (self.columns is not None or self.rows is not None)


@dataclass(slots=True)
class _Merged:
    partitions: PartitionSet | None
    members: list[Resolved]


def _kind(each: Resolved) -> _Kind:
    event = each.received.event
    rows = None if each.rows is None else msgspec.json.encode(each.rows, order="sorted")
    request = each.received.position if each.received.stream == MANUAL else None
    return _Kind(each.dataset.id, each.version, event.reason, each.columns, rows, request)


def _merge(group: list[Resolved]) -> _Merged:
    union = group[0].space.empty
    for each in group:
        if each.partitions is None:
            return _Merged(None, group)
        union |= each.partitions
    return _Merged(union, group)


def _absorb(merged: dict[_Kind, _Merged], kind: _Kind) -> None:
    """Drop a fact about some columns or rows where one about all of them says as much."""
    wide = merged.get(replace(kind, columns=None, rows=None))
    narrow = merged[kind]
    if wide is not None and _covers(wide.partitions, narrow.partitions):
        wide.members += narrow.members
        del merged[kind]


def _covers(wide: PartitionSet | None, narrow: PartitionSet | None) -> bool:
    return wide is None or (narrow is not None and wide.covers(narrow))


def _fact(merged: _Merged) -> Fact:
    sample = merged.members[0]
    manual = sample.received.stream == MANUAL
    return Fact(
        dataset=sample.dataset.id,
        version=sample.version,
        served=sample.served,
        reason=sample.received.event.reason,
        texts=_texts(sample, merged.partitions),
        columns=sample.columns,
        rows=sample.rows,
        events=len(merged.members),
        source_event=_witness([each.received for each in merged.members]),
        key=sample.received.event.id if manual else None,
    )


def _texts(sample: Resolved, partitions: PartitionSet | None) -> tuple[str | None, ...]:
    return (None,) if partitions is None else tuple(sample.space.texts(partitions))


def _witness(received: Sequence[Received]) -> dict[str, Any]:
    """What explain shows of the events: the first whole, and the rest by place and id."""
    first, last = received[0], received[-1]
    ids = [each.event.id for each in received if each.event.id is not None]
    return {
        "count": len(received),
        "stream": first.stream,
        "first": first.position,
        "last": last.position,
        "ids": ids[:_NAMED],
        "event": msgspec.to_builtins(first.event),
    }
