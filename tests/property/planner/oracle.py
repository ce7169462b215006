"""The closure of changes, key by key and column by column: a slow, plain reference.

No code is shared with the engine: windows are dates, keys are tuples, sets are sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import product

Key = tuple[tuple[str, str | int], ...]
"""(dimension, value) pairs: an origin, or the number of a day or of a month."""
Cell = tuple[Key, str]
"""A key and a dirty column of it."""

EVERY = "*"
FIRST, LAST = date(2024, 2, 27), date(2024, 3, 3)
ORIGINS = ("A", "B", "C")


@dataclass(frozen=True)
class Read:
    """``columns`` maps an input column to output columns; None: reads everything."""

    dataset: str
    is_all: bool = False
    window: tuple[int, int] | None = None
    columns: dict[str, frozenset[str]] | None = None


@dataclass(frozen=True)
class Node:
    """A dataset with its job; a source reads nothing. ``time`` is day, month or None."""

    name: str
    time: str | None
    has_origin: bool
    reads: tuple[Read, ...] = ()
    is_full: bool = False

    def all_keys(self) -> set[Key]:
        times = [[("dt", n)] for n in self._numbers()] if self.time else [[]]
        origins = [[("origin", o)] for o in ORIGINS] if self.has_origin else [[]]
        return {(*a, *b) for a, b in product(times, origins)}

    def _numbers(self) -> range:
        return range(number(self.time, FIRST), number(self.time, LAST) + 1)


@dataclass(frozen=True)
class Change:
    """``keys`` None: all of the dataset. ``columns`` None: unknown."""

    dataset: str
    keys: frozenset[Key] | None
    columns: frozenset[str] | None
    is_rewrite: bool = False


@dataclass
class Found:
    """By dataset: the keys to recompute, the keys that must run, and the dirty columns."""

    triggered: dict[str, set[Key]] = field(default_factory=dict)
    directly_invalidated: dict[str, set[Key]] = field(default_factory=dict)
    columns: dict[str, set[str]] = field(default_factory=dict)


def number(time: str | None, day: date) -> int:
    return day.toordinal() if time == "day" else day.year * 12 + day.month - 1


def window(time: str, n: int) -> tuple[date, date]:
    if time == "day":
        return date.fromordinal(n), date.fromordinal(n) + timedelta(days=1)
    return date(n // 12, n % 12 + 1, 1), date((n + 1) // 12, (n + 1) % 12 + 1, 1)


def closure(
    nodes: Sequence[Node], changes: Sequence[Change], existing: dict[str, set[Key]]
) -> Found:
    """``nodes`` are in topological order."""
    by_name = {node.name: node for node in nodes}
    found = Found()
    changed: dict[str, set[Cell]] = {node.name: set() for node in nodes}
    pending: dict[str, set[Cell]] = {node.name: set() for node in nodes}
    wrong: dict[str, set[Key]] = {node.name: set() for node in nodes}
    unnamed: dict[str, set[Cell]] = {node.name: set() for node in nodes}
    for change in changes:
        keys = _scope(by_name, change, existing)
        if change.keys is None and not by_name[change.dataset].reads:
            others = by_name[change.dataset].all_keys() - keys
            unnamed[change.dataset] |= set(product(others, change.columns or {EVERY}))
        if change.is_rewrite or not by_name[change.dataset].reads:
            changed[change.dataset] |= set(product(keys, change.columns or {EVERY}))
        else:
            wrong[change.dataset] |= keys
    for node in nodes:
        if node.reads:
            read = _read_unnamed(by_name, node, existing, unnamed)
            _visit(by_name, node, existing, changed, pending, wrong[node.name], read, found)
    return found


def _read_unnamed(by_name, node, existing, unnamed) -> set[Cell]:
    """Existing keys built from source partitions that no event has named."""
    return {
        (key, column)
        for read in node.reads
        for key, column in _cross(by_name[read.dataset], node, read, unnamed[read.dataset])
        if key in existing[node.name]
    }


def _visit(by_name, node, existing, changed, pending, wrong, read_unnamed, found) -> None:
    directly_invalidated: set[Cell] = set(product(wrong, [EVERY])) | read_unnamed
    through: set[Cell] = set()
    # If no input determines the partitions, the first change builds all keys, new in every column.
    is_free = _is_all_unmapped(by_name, node)
    begins = is_free and not _extent(by_name, node, existing) and not wrong
    for is_unmapped in (False, True):
        for read in node.reads:
            if _is_unmapped(by_name[read.dataset], node, read) is is_unmapped:
                there = _extent(by_name, node, existing) | {
                    key for key, _ in directly_invalidated | through
                }
                for cells, into in ((changed, directly_invalidated), (pending, through)):
                    crossed = set(_cross(by_name[read.dataset], node, read, cells[read.dataset]))
                    # Later changes do, too: a missing key within the bounds was canceled.
                    is_open = is_free or not is_unmapped or node.is_full
                    kept = {c for c in crossed if is_open or _is_there(c[0], there)}
                    into |= {(key, EVERY) for key, _ in kept} if begins else kept
    triggered = {key for key, _ in directly_invalidated | through}
    if not triggered:
        return
    columns = {column for _, column in directly_invalidated | through}
    found.triggered[node.name] = node.all_keys() if node.is_full else triggered
    sure = {key for key, _ in directly_invalidated}
    found.directly_invalidated[node.name] = node.all_keys() if node.is_full and sure else sure
    found.columns[node.name] = columns
    pending[node.name] |= (
        set(product(node.all_keys(), {EVERY} if EVERY in columns else columns))
        if node.is_full
        else directly_invalidated | through
    )


def _cross(source: Node, target: Node, read: Read, cells: set[Cell]) -> Iterator[Cell]:
    for key in {key for key, _ in cells}:
        touched = [k for k in target.all_keys() if touches(source, target, read, key, k)]
        outputs = (_outputs(read, column) for each, column in cells if each == key)
        yield from product(touched, set().union(*outputs))


def _outputs(read: Read, column: str) -> frozenset[str]:
    if read.columns is None or column == EVERY:
        return frozenset({EVERY})
    outputs = read.columns.get(column, frozenset())
    return frozenset({EVERY}) if EVERY in outputs else outputs


def touches(source: Node, target: Node, read: Read, key: Key, other: Key) -> bool:
    if read.is_all:
        return True
    mine, theirs = dict(key), dict(other)
    if "origin" in mine and "origin" in theirs and mine["origin"] != theirs["origin"]:
        return False
    if "dt" not in mine or "dt" not in theirs:
        return True
    start, end = window(source.time, mine["dt"])
    first, last = read.window or (0, 0)
    windows = (window(target.time, theirs["dt"] + n) for n in range(first, last + 1))
    return any(start < stop and begin < end for begin, stop in windows)


def _is_unmapped(source: Node, target: Node, read: Read) -> bool:
    return target.time is not None and (read.is_all or source.time is None)


def _is_all_unmapped(by_name: dict[str, Node], node: Node) -> bool:
    return all(_is_unmapped(by_name[read.dataset], node, read) for read in node.reads)


def _is_there(key: Key, there: set[Key]) -> bool:
    return dict(key)["dt"] in {dict(each)["dt"] for each in there}


def _scope(by_name: dict[str, Node], change: Change, existing: dict[str, set[Key]]) -> set[Key]:
    if change.keys is not None:
        return set(change.keys)
    node = by_name[change.dataset]
    if node.reads:
        return _extent(by_name, node, existing)
    return (
        existing[node.name] if existing[node.name] and node.all_keys() != {()} else node.all_keys()
    )


def _extent(by_name: dict[str, Node], node: Node, existing: dict[str, set[Key]]) -> set[Key]:
    if existing[node.name] or not node.reads:
        return existing[node.name]
    tight = [r for r in node.reads if not _is_unmapped(by_name[r.dataset], node, r)]
    followed = node.reads if node.is_full else tight or node.reads
    reached = {
        key
        for read in followed
        for there in _extent(by_name, by_name[read.dataset], existing)
        for key in node.all_keys()
        if touches(by_name[read.dataset], node, read, there, key)
    }
    return node.all_keys() if node.is_full and reached else reached
