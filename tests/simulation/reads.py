"""Random reads of a dataset by a job, with the mapping as written in a DAG file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from random import Random
from typing import Any

from tests.simulation.dimensions import Dimension, Space
from tests.simulation.mapping import Link, Read
from tests.simulation.spaces import MORE_GRAINS


def any_read(rng: Random, dataset: str, source: Space, target: Space) -> Read:
    """Draw a read with a valid mapping and possibly a ``wait_for``."""
    links = tuple(_links(rng, source, target))
    latest = None
    ordered = [i for i, d in enumerate(source) if d.is_ordered]
    if rng.random() < 0.12 and len(ordered) == 1:
        links, latest = (), ordered[0]
        lists = [i for i, d in enumerate(source) if d.kind == "static"]
        if lists and source[latest].grain in MORE_GRAINS:
            latest = lists[0]
    read = Read(dataset, links, latest, _spec(rng, source, target, links, latest))
    if _may_wait(source, target, read) and rng.random() < 0.15:
        many = source != target and prod(len(d.universe) for d in source) > 1
        wait_for = rng.choice(["all", 1, 2 if many else 1])
        has_grids = {d.grain for d in (*source, *target)} & {*MORE_GRAINS}
        return replace(read, wait_for=-1 if has_grids and many and wait_for == 2 else wait_for)
    return read


def same_read(dataset: str, space: Space) -> Read:
    """Return a read of the partition with the same key."""
    return Read(dataset, tuple(Link(i, i) for i in range(len(space))), spec="identity")


def whole_read(dataset: str) -> Read:
    """Return a read of the entire dataset by every partition."""
    return Read(dataset, spec="all")


def grouped_read(rng: Random, dataset: str, source: Space, target: Space) -> Read | None:
    """Return a read restricting each key of a static output dimension to the rows of its group."""
    statics = [i for i, d in enumerate(target) if d.kind == "static"]
    if not statics:
        return None
    t = statics[0]
    others = (*target[:t], replace(target[t], kind="grouped"), *target[t + 1 :])
    links = tuple(_links(rng, source, others))
    return Read(dataset, links, spec=_spec(rng, source, target, links, None), grouped=t)


def _links(rng: Random, source: Space, target: Space) -> Iterator[Link]:
    free = list(range(len(source)))
    if rng.random() < 0.06:
        return
    for t, to in enumerate(target):
        candidates = [s for s in free if _fit(source[s], to)]
        if candidates and (rng.random() < 0.92 or not to.is_finite):
            s = rng.choice(candidates)
            free.remove(s)
            yield _link(rng, s, t, source[s], to)


def _fit(source: Dimension, target: Dimension) -> bool:
    if target.kind == "grouped":
        return False
    if source.is_ordered or target.is_ordered:
        if source.kind != target.kind:
            return False
        # Mapping an unbounded coarse grain to a fine one would give too many partitions.
        return target.is_finite or source.grain == target.grain or source.grain == "day"
    return True


def _link(rng: Random, s: int, t: int, source: Dimension, target: Dimension) -> Link:
    chance = rng.random()
    if target.is_ordered and chance < 0.3:
        first = rng.randint(-2, 1)
        last = rng.randint(first, min(first + 2, 2))
        # Only in worlds of more grids, and without a draw, so that other worlds stay the same.
        counts_sources = {source.grain, target.grain} & {*MORE_GRAINS} and (first + last) % 2 == 0
        return Link(s, t, window=(first, last), counts_sources=bool(counts_sources))
    if not target.is_ordered and chance < 0.2:
        keymap = {
            key: tuple(rng.sample(target.keys, rng.randint(0, len(target.keys))))
            for key in source.keys
        }
        return Link(s, t, keymap=tuple(keymap.items()))
    return Link(s, t)


def _spec(
    rng: Random, source: Space, target: Space, links: Sequence[Link], latest: int | None
) -> Any:
    if latest is not None:
        if source[latest].is_ordered:
            return "last"
        name = source[latest].name
        return {name: {"last": True} if name in [d.name for d in target] else "last"}
    straight = all(
        link.source == link.target and not link.window and not link.keymap for link in links
    )
    if source == target and len(links) == len(source) and straight:
        return rng.choice([None, "identity"])
    if not target or not links:
        return "all"
    mapping: dict[str, Any] = {d.name: "all" for d in target}
    for link in links:
        entry: dict[str, Any] = {"from": source[link.source].name}
        if link.window:
            entry["window"] = list(link.window)
            entry |= {"unit": "input"} if link.counts_sources else {}
        if link.keymap is not None:
            entry["map"] = {key: list(targets) for key, targets in link.keymap}
        mapping[target[link.target].name] = entry
    return mapping


def _may_wait(source: Space, target: Space, read: Read) -> bool:
    """Return whether required inputs are bounded and determined by the output's own key."""
    linked = {link.source: link for link in read.links}
    return read.latest is None and all(
        d.is_finite or (i in linked and _covers_reads(d, target[linked[i].target], linked[i]))
        for i, d in enumerate(source)
    )


def _covers_reads(source: Dimension, target: Dimension, link: Link) -> bool:
    """Return whether the short grid of the source covers everything the target can read."""
    if link.counts_sources:
        return False
    if not source.is_ordered or source.grid == target.grid:
        return True
    before, after = link.window or (0, 0)
    lo, hi = target.bounds
    first, last = (lo or 0) + before, (len(target.grid) if hi is None else hi) - 1 + after
    if first < 0 or last >= len(target.grid):
        return False
    start, end = source.span(0)[0], source.span(len(source.grid) - 1)[1]
    return bool(start <= target.span(first)[0] and target.span(last)[1] <= end)
