"""Produced scopes = invalidated scopes.

The scope of every message is covered by exactly one invalidation with the message's stream
position, no position is recorded twice, and no other scope is invalidated. Unreadable messages are
dead letters.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from typing import Any

import msgspec
import psycopg

from tests.faults.producer import ProducedMessage
from tests.faults.workload import SPACE

_ROWS = """
SELECT i.source_event, i.partition_key, i.columns, i.reason
FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid
JOIN orgs o ON o.id = i.org_id AND o.slug = %s
WHERE d.name = 'orders' AND i.source_event ->> 'stream' LIKE 'kafka/%%'
"""
_LETTERS = """
SELECT l.stream, l.position FROM dead_letters l JOIN orgs o ON o.id = l.org_id AND o.slug = %s
"""
Columns = frozenset[str] | None


@dataclass(frozen=True)
class Kind:
    """Criteria of coalescing: events of one kind may share an invalidation."""

    columns: Columns
    reason: str


@dataclass
class RecordedInvalidation:
    """Rows with the same `evidence`: the partitions, and the range of positions in one stream."""

    evidence: bytes
    stream: str
    kind: Kind
    first: int
    last: int
    count: int
    partitions: set[str] = field(default_factory=set)


def assert_matches_produced(
    conn: psycopg.Connection[Any],
    log: Sequence[ProducedMessage],
    lost: Iterable[str] = (),
    org: str = "default",
) -> int:
    """Compare an org's invalidations with the log of its topic.

    `lost` are dead letters' positions of deleted messages. Returns the number of invalidations.
    """
    invalidations = _recorded_invalidations(conn, org)
    expected = [message for message in log if message.scope is not None]
    _assert_no_position_is_recorded_twice(invalidations)
    _assert_every_message_is_covered(invalidations, expected)
    _assert_nothing_else_is_invalidated(invalidations, expected)
    recorded = sum(invalidation.count for invalidation in invalidations)
    assert recorded == len(expected), f"{recorded} events recorded, {len(expected)} produced"
    _assert_dead_letters(conn, log, lost, org)
    return len(invalidations)


def _recorded_invalidations(conn: psycopg.Connection[Any], org: str) -> list[RecordedInvalidation]:
    by_name: dict[tuple[bytes, str], RecordedInvalidation] = {}
    for evidence, text, columns, reason in conn.execute(_ROWS.encode(), [org]):
        kind = Kind(None if columns is None else frozenset(columns), reason)
        name = msgspec.json.encode([evidence, columns, reason])
        for stream, position in _positions_by_stream(evidence).items():
            bounds = int(position["first"]), int(position["last"])
            invalidation = RecordedInvalidation(name, stream, kind, *bounds, position["count"])
            invalidation = by_name.setdefault((name, stream), invalidation)
            invalidation.partitions.update(SPACE.keys(SPACE.parse(text)))
    return sorted(by_name.values(), key=attrgetter("first"))


def _positions_by_stream(evidence: dict[str, Any]) -> dict[str, Any]:
    return evidence.get("streams") or {evidence["stream"]: evidence}


def _by_kind(
    invalidations: Iterable[RecordedInvalidation],
) -> dict[tuple[str, Kind], list[RecordedInvalidation]]:
    by_kind = defaultdict(list)
    for invalidation in invalidations:
        by_kind[invalidation.stream, invalidation.kind].append(invalidation)
    return by_kind


def _assert_no_position_is_recorded_twice(invalidations: Sequence[RecordedInvalidation]) -> None:
    for group in _by_kind(invalidations).values():
        for before, after in pairwise(group):
            assert before.last < after.first, f"recorded twice: {before} and {after}"


def _assert_every_message_is_covered(
    invalidations: Sequence[RecordedInvalidation], messages: Iterable[ProducedMessage]
) -> None:
    by_kind = _by_kind(invalidations)
    firsts = {key: [item.first for item in group] for key, group in by_kind.items()}
    for message in messages:
        assert message.scope is not None
        scope = message.scope
        kinds = {Kind(columns, scope.reason) for columns in (scope.columns, None)}
        candidates = []
        for key in ((message.stream, kind) for kind in kinds):
            index = bisect_right(firsts.get(key, ()), message.offset) - 1
            if index >= 0 and by_kind[key][index].last >= message.offset:
                candidates.append(by_kind[key][index])
        for partition in scope.partitions:
            covering = [candidate for candidate in candidates if partition in candidate.partitions]
            assert len(covering) == 1, f"{partition} of {message} is covered by {covering}"


def _assert_nothing_else_is_invalidated(
    invalidations: Iterable[RecordedInvalidation], messages: Iterable[ProducedMessage]
) -> None:
    by_stream = defaultdict(list)
    for message in messages:
        by_stream[message.stream].append(message)
    offsets = {stream: [item.offset for item in items] for stream, items in by_stream.items()}
    not_produced: dict[bytes, set[str]] = {}
    for invalidation in invalidations:
        stream_offsets = offsets.get(invalidation.stream, [])
        in_range = slice(
            bisect_left(stream_offsets, invalidation.first),
            bisect_right(stream_offsets, invalidation.last),
        )
        remaining = not_produced.setdefault(invalidation.evidence, set(invalidation.partitions))
        remaining -= _produced_partitions(
            invalidation.kind, by_stream[invalidation.stream][in_range]
        )
    assert not any(not_produced.values()), f"not produced: {[*filter(None, not_produced.values())]}"


def _produced_partitions(kind: Kind, produced: Iterable[ProducedMessage]) -> set[str]:
    """The partitions of produced messages of this kind."""
    scopes = (message.scope for message in produced if message.scope)
    return set().union(*(scope.partitions for scope in scopes if Kind(*scope[1:]) == kind))


def _assert_dead_letters(
    conn: psycopg.Connection[Any], log: Iterable[ProducedMessage], lost: Iterable[str], org: str
) -> None:
    expected = [f"{message.stream} {message.offset}" for message in log if message.is_poison]
    actual = [f"{stream} {position}" for stream, position in conn.execute(_LETTERS, [org])]
    assert sorted(actual) == sorted([*expected, *lost])
