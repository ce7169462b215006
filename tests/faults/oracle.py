"""Produced scopes = invalidated scopes.

Every message's scope is covered by one invalidation with the message's stream position, no position
is recorded twice, and no other scope is invalidated. Unreadable messages are dead letters.
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

from tests.faults.ledger import Produced
from tests.faults.orders import SPACE

_ROWS = """
SELECT i.source_event, i.partition_key, i.columns, i.reason
FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid
WHERE d.name = 'orders' AND i.source_event ->> 'stream' LIKE 'kafka/%'
"""
_LETTERS = "SELECT stream, position FROM dead_letters"
Columns = frozenset[str] | None


@dataclass(frozen=True)
class Kind:
    """Criteria of coalescing: events of one kind may share an invalidation."""

    columns: Columns
    reason: str


@dataclass
class Fact:
    """Rows of one insertion, the `witness`: partitions, and the positions in one stream."""

    witness: bytes
    stream: str
    kind: Kind
    first: int
    last: int
    count: int
    partitions: set[str] = field(default_factory=set)


def assert_as_produced(
    conn: psycopg.Connection[Any], log: Sequence[Produced], lost: Iterable[str] = ()
) -> int:
    """Compare the ledger with the log; `lost` are positions of dead letters for deleted messages.

    Returns the number of invalidations.
    """
    facts = _facts(conn)
    told = [each for each in log if each.scope is not None]
    _assert_no_place_is_told_twice(facts)
    _assert_all_is_covered(facts, told)
    _assert_nothing_else(facts, told)
    counted = sum(each.count for each in facts)
    assert counted == len(told), f"{counted} events are counted, {len(told)} were produced"
    _assert_dead_letters(conn, log, lost)
    return len(facts)


def _facts(conn: psycopg.Connection[Any]) -> list[Fact]:
    found: dict[tuple[bytes, str], Fact] = {}
    for witness, text, columns, reason in conn.execute(_ROWS.encode()):
        kind = Kind(None if columns is None else frozenset(columns), reason)
        name = msgspec.json.encode([witness, columns, reason])
        for stream, place in _places(witness).items():
            bounds = int(place["first"]), int(place["last"])
            fact = Fact(name, stream, kind, *bounds, place["count"])
            fact = found.setdefault((name, stream), fact)
            fact.partitions.update(SPACE.keys(SPACE.parse(text)))
    return sorted(found.values(), key=attrgetter("first"))


def _places(witness: dict[str, Any]) -> dict[str, Any]:
    return witness.get("streams") or {witness["stream"]: witness}


def _by_kind(facts: Iterable[Fact]) -> dict[tuple[str, Kind], list[Fact]]:
    found = defaultdict(list)
    for each in facts:
        found[each.stream, each.kind].append(each)
    return found


def _assert_no_place_is_told_twice(facts: Sequence[Fact]) -> None:
    for same in _by_kind(facts).values():
        for before, after in pairwise(same):
            assert before.last < after.first, f"told twice: {before} and {after}"


def _assert_all_is_covered(facts: Sequence[Fact], told: Iterable[Produced]) -> None:
    by_kind = _by_kind(facts)
    firsts = {key: [each.first for each in same] for key, same in by_kind.items()}
    for each in told:
        assert each.scope is not None
        kinds = {Kind(columns, each.scope.reason) for columns in (each.scope.columns, None)}
        found = []
        for key in ((each.stream, kind) for kind in kinds):
            at = bisect_right(firsts.get(key, ()), each.offset) - 1
            if at >= 0 and by_kind[key][at].last >= each.offset:
                found.append(by_kind[key][at])
        for partition in each.scope.partitions:
            covering = [fact for fact in found if partition in fact.partitions]
            assert len(covering) == 1, f"{partition} of {each} is covered by {covering}"


def _assert_nothing_else(facts: Iterable[Fact], told: Iterable[Produced]) -> None:
    by_stream = defaultdict(list)
    for each in told:
        by_stream[each.stream].append(each)
    offsets = {stream: [each.offset for each in those] for stream, those in by_stream.items()}
    uninvited: dict[bytes, set[str]] = {}
    for fact in facts:
        there = offsets.get(fact.stream, [])
        among = slice(bisect_left(there, fact.first), bisect_right(there, fact.last))
        left = uninvited.setdefault(fact.witness, set(fact.partitions))
        left -= _said(fact.kind, by_stream[fact.stream][among])
    assert not any(uninvited.values()), f"nobody produced {[*filter(None, uninvited.values())]}"


def _said(kind: Kind, produced: Iterable[Produced]) -> set[str]:
    """The partitions of produced messages of this kind."""
    scopes = (each.scope for each in produced if each.scope)
    return set().union(*(each.partitions for each in scopes if Kind(*each[1:]) == kind))


def _assert_dead_letters(
    conn: psycopg.Connection[Any], log: Iterable[Produced], lost: Iterable[str]
) -> None:
    expected = [f"{each.stream} {each.offset}" for each in log if each.is_poison]
    found = [f"{stream} {position}" for stream, position in conn.execute(_LETTERS)]
    assert sorted(found) == sorted([*expected, *lost])
