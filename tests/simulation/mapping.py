"""Partition mappings as explicit tables, computed key by key."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from math import prod
from typing import Any

from tests.simulation.dimensions import Dimension, Key, Space


@dataclass(frozen=True)
class Link:
    """Mapping between a source dimension and a target dimension, both by index.

    ``window`` gives offsets on the target's grid, or with ``counts_sources`` on the source's.
    """

    source: int
    target: int
    window: tuple[int, int] | None = None
    keymap: tuple[tuple[str, tuple[str, ...]], ...] | None = None
    counts_sources: bool = False

    def required_keys(self, source: Dimension, target: Dimension) -> dict[str, frozenset[str]]:
        """Return the required source keys by target key."""
        return _required_keys(self, source, target)


@cache
def _required_keys(link: Link, source: Dimension, target: Dimension) -> dict[str, frozenset[str]]:
    if link.keymap is not None:
        return {
            t: frozenset(s for s, targets in link.keymap if t in targets) for t in target.universe
        }
    if not source.is_ordered:
        return {t: frozenset({t}) & set(source.universe) for t in target.universe}
    first, last = link.window or (0, 0)
    sources_by_key = {}
    if link.counts_sources:
        return {
            t: _around(source, target.span(target.grid.index(t)), first, last)
            for t in target.universe
        }
    for t in target.universe:
        index = target.grid.index(t)
        window = range(max(index + first, 0), min(index + last + 1, len(target.grid)))
        spans = [target.span(n) for n in window]
        sources_by_key[t] = frozenset(s for s in source.universe if _overlaps(source, s, spans))
    return sources_by_key


def _around(source: Dimension, span: tuple[Any, Any], first: int, last: int) -> frozenset[str]:
    """Return the source keys at the offsets from those that overlap a span."""
    overlapping = [i for i, key in enumerate(source.grid) if _overlaps(source, key, [span])]
    indexes = {i + offset for i in overlapping for offset in range(first, last + 1)}
    return frozenset(source.grid[i] for i in indexes if 0 <= i < len(source.grid)) & {
        *source.universe
    }


def _overlaps(source: Dimension, key: str, spans: Iterable[tuple[Any, Any]]) -> bool:
    lo, hi = source.span(source.grid.index(key))
    return any(max(lo, start) < min(hi, end) for start, end in spans)


@dataclass(frozen=True)
class Read:
    """A dataset as read by a job.

    ``latest`` is the index of a dimension of which only the last key is read. ``grouped`` is the
    index of an output dimension keyed by the rows' ``g``: an output partition reads only rows of
    its own group. ``cursor``: the job follows the rows by id. A negative ``wait_for`` is the number
    of partitions that may be missing. ``ignores_failure``: a failed task of the dataset does not
    block the job.
    """

    dataset: str
    links: tuple[Link, ...] = ()
    latest: int | None = None
    spec: Any = field(default=None, compare=False)
    wait_for: str | int = "any"
    cursor: bool = False
    grouped: int | None = None
    ignores_failure: bool = field(default=False, compare=False)


def needed(read: Read, source: Space, target: Space, key: Key, among: Collection[Key]) -> set[Key]:
    """Return the keys in ``among`` read by an output partition."""
    tables: dict[int, frozenset[str]] = {}
    for link in read.links:
        required = link.required_keys(source[link.source], target[link.target])
        keys = required.get(key[link.target], frozenset())
        tables[link.source] = tables.get(link.source, keys) & keys
    last = _last(read, source, among)
    return {
        s
        for s in _candidates(tables, len(source), among)
        if all(s[i] in keys for i, keys in tables.items())
        and (last is None or s[read.latest] == last)
    }


def _candidates(
    tables: Mapping[int, frozenset[str]], count: int, among: Collection[Key]
) -> Iterable[Key]:
    """Return ``among``, or the few keys of it that the linked dimensions allow.

    In a space of two unbounded dimensions ``among`` has thousands of keys, which are tested for
    thousands of output partitions.
    """
    if len(tables) < count or prod(len(keys) for keys in tables.values()) > len(among):
        return among
    return (key for key in product(*(tables[i] for i in range(count))) if key in among)


def _last(read: Read, source: Space, among: Collection[Key]) -> str | None:
    if read.latest is None or not among:
        return None
    return max((s[read.latest] for s in among), key=source[read.latest].grid.index)


def is_tight(read: Read, target: Space) -> bool:
    """Return whether an input partition alone determines its reach in every output dimension."""
    linked = {link.target for link in read.links}
    return all(i in linked or d.kind == "static" for i, d in enumerate(target))
