"""Coalescing: many events about one scope are one fact, and it remembers how many and which."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
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
    groups: dict[tuple[Any, ...], list[Resolved]] = defaultdict(list)
    for each in resolved:
        groups[_group(each)].append(each)
    merged = [_merge(group) for group in groups.values()]
    return [_fact(each) for each in merged]


@dataclass(frozen=True, slots=True)
class _Merged:
    sample: Resolved
    partitions: PartitionSet | None
    members: Sequence[Resolved]


def _group(each: Resolved) -> tuple[Any, ...]:
    rows = None if each.rows is None else msgspec.json.encode(each.rows, order="sorted")
    own = each.received.event.id if each.received.stream == MANUAL else None
    return (each.dataset.id, each.version, each.received.event.reason, each.columns, rows, own)


def _merge(group: Sequence[Resolved]) -> _Merged:
    if any(each.partitions is None for each in group):
        return _Merged(group[0], None, group)
    union = group[0].space.from_keys(())
    for partitions in {id(each.partitions): each.partitions for each in group}.values():
        assert partitions is not None
        union |= partitions
    return _Merged(group[0], union, group)


def _fact(merged: _Merged) -> Fact:
    sample = merged.sample
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
