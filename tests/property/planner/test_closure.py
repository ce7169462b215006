"""The planner against the closure key by key, on random small worlds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TypeVar
from uuid import UUID, uuid5

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.lineage.columns import ALL_COLUMNS, DirtyColumns
from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.invalidation import Invalidation
from engine.model.job import Job, JobInput
from engine.planner import Plan, Step, lookup_in, plan
from tests.property.planner.oracle import (
    EVERY,
    ORIGINS,
    Change,
    Key,
    Node,
    Read,
    closure,
    window,
)
from tests.support.lineages import NOW, with_columns

T = TypeVar("T")
COLUMNS = ("a", "b")
KINDS = [(None, False), ("day", False), ("month", False), (None, True), ("day", True)]
SPECS = {
    "day": {"time": "day", "start": "2024-02-27", "end": "2024-03-04"},
    "month": {"time": "month", "start": "2024-02", "end": "2024-04"},
}


class Dice:
    """Choices from a single fixed strategy, because building strategies would dominate the time."""

    numbers = st.integers(0, 5039)

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def below(self, n: int) -> int:
        return self._draw(self.numbers) % n

    def pick(self, among: Sequence[T]) -> T:
        return among[self.below(len(among))]

    def some(self, among: Iterable[T], most: int) -> list[T]:
        left = list(among)
        return [left.pop(self.below(len(left))) for _ in range(min(most, len(left)))]


def _world(dice: Dice) -> list[Node]:
    nodes: list[Node] = []
    for n in range(2 + dice.below(6)):
        time, has_origin = dice.pick(KINDS)
        bare = Node(f"n{n}", time, has_origin)
        # The first is a source, the second reads the first, the rest may be either.
        count = n if n < 2 else dice.below(4)
        reads = tuple(_read(dice, source, bare) for source in dice.some(nodes, count))
        nodes.append(replace(bare, reads=reads, is_full=bool(reads) and dice.below(6) == 5))
    return nodes


def _read(dice: Dice, source: Node, target: Node) -> Read:
    shared = (source.time and target.time) or (source.has_origin and target.has_origin)
    is_bare = not (source.time or source.has_origin) or not (target.time or target.has_origin)
    is_all = not (shared or is_bare) or dice.below(6) == 5
    window = None
    if source.time and target.time and not is_all and dice.below(2):
        first = dice.below(4) - 2
        window = first, first + dice.below(3 - first)
    columns = {
        column: frozenset(dice.some([*COLUMNS, EVERY], 1 + dice.below(2)))
        for column in sorted(_columns_of(dice))
    }
    return Read(source.name, is_all, window, columns if dice.below(3) else None)


def _columns_of(dice: Dice) -> frozenset[str]:
    return frozenset(dice.some(COLUMNS, 1 + dice.below(2)))


def _change(dice: Dice, nodes: Sequence[Node]) -> Change:
    node = dice.pick(nodes)
    keys = _box(dice, node) if dice.below(4) else None
    return Change(node.name, keys, _columns_of(dice) if dice.below(3) else None, dice.below(4) == 3)


def _box(dice: Dice, node: Node) -> frozenset[Key]:
    """A range of times at one origin, or at all origins: the scope of one invalidation."""
    keys = sorted(node.all_keys())
    ends = [dict(dice.pick(keys)).get("dt", 0) for _ in range(2)]
    origin = dice.pick([None, *ORIGINS])
    return frozenset(
        key
        for key in keys
        if min(ends) <= dict(key).get("dt", 0) <= max(ends)
        and (origin is None or dict(key).get("origin", origin) == origin)
    )


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[Node], list[Change], dict[str, set[Key]]]:
    dice = Dice(draw)
    nodes = _world(dice)
    made = [_change(dice, nodes) for _ in range(1 + dice.below(3))]
    existing = {n.name: set(dice.some(sorted(n.all_keys()), dice.below(5))) for n in nodes}
    return nodes, made, existing


@settings(max_examples=200, deadline=None)
@given(scenes())
def test_a_plan_is_the_closure_of_its_changes(scene):
    nodes, made, existing = scene
    world = _lineage(nodes)

    found = _plan(world, nodes, made, existing)

    expected = closure(nodes, made, existing)
    assert {_name(world, s.job): _keys(s.partitions) for s in found.steps} == {
        name: {text(key) for key in keys} for name, keys in expected.triggered.items()
    }
    assert {_name(world, s.job): _keys(s.directly_invalidated) for s in found.steps} == {
        name: {text(key) for key in keys} for name, keys in expected.directly_invalidated.items()
    }
    assert {_name(world, s.job): _columns(_dirty(world, s)) for s in found.steps} == {
        name: None if EVERY in columns else columns for name, columns in expected.columns.items()
    }


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_a_plan_is_topologically_ordered_and_explains_every_edge(scene):
    nodes, made, existing = scene
    world = _lineage(nodes)

    found = _plan(world, nodes, made, existing)

    via = {(hop.dataset, step.job) for step in found.steps for hop in step.triggers}
    pruned = {(each.dataset, each.job) for each in found.pruned}
    dirty = {
        *found.changed_partitions,
        *(output for step in found.steps for output in _dirty(world, step)),
    }
    edges = {(dataset, edge.job) for dataset in dirty for edge in world.readers(dataset)}
    assert edges <= via | pruned
    before: set[UUID] = set()
    for step in found.steps:
        assert {hop.from_job for hop in step.triggers} <= before | {None}
        before.add(step.job)


@settings(max_examples=60, deadline=None)
@given(scenes(), st.sets(st.integers(0, 6)))
def test_a_resumed_plan_has_the_remaining_steps(scene, done):
    nodes, made, existing = scene
    world = _lineage(nodes)
    jobs = frozenset(_id("job", f"n{n}") for n in done)

    found = _plan(world, nodes, made, existing)
    resumed = _plan(world, nodes, made, existing, jobs)

    assert [s.job for s in resumed.steps] == [s.job for s in found.steps if s.job not in jobs]
    assert resumed.invalidations == found.invalidations
    assert set().union(*found.invalidations.values()) == {s.job for s in found.steps}


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_each_invalidation_lists_the_jobs_it_affects_alone(scene):
    nodes, made, existing = scene
    world = _lineage(nodes)

    found = _plan(world, nodes, made, existing)

    for n, change in enumerate(made):
        alone = closure(nodes, [change], existing)
        assert {_id("job", name) for name in alone.triggered} <= found.invalidations[
            _id("change", str(n))
        ]


def text(key: Key) -> str:
    parts = {name: _part(name, value, key) for name, value in key}
    if len(parts) == 1:
        return next(iter(parts.values()))
    return "/".join(f"{name}={part}" for name, part in parts.items()) or "*"


def _part(name: str, value: str | int, key: Key) -> str:
    if name == "origin":
        return str(value)
    return (
        date.fromordinal(value).isoformat()
        if value > 99_999
        else f"{window('month', value)[0]:%Y-%m}"
    )


def _id(kind: str, name: str) -> UUID:
    return uuid5(UUID(int=1), f"{kind} {name}")


def _lineage(nodes: Sequence[Node]) -> Lineage:
    datasets = [
        Dataset(_id("dataset", n.name), _id("version", n.name), n.name, json.dumps(_space(n)))
        for n in nodes
    ]
    columns = [
        (_id("dataset", n.name), output, _id("dataset", read.dataset), column)
        for n in nodes
        for read in n.reads
        for column, outputs in (read.columns or {}).items()
        for output in outputs
    ]
    by_name = {n.name: n for n in nodes}
    return Lineage.build(datasets, with_columns([_job(by_name, n) for n in nodes], columns))


def _space(node: Node) -> dict[str, object]:
    time = {"dt": SPECS[node.time]} if node.time else {}
    return time | ({"origin": {"static": list(ORIGINS)}} if node.has_origin else {})


def _job(by_name: dict[str, Node], node: Node) -> Job:
    return Job(
        id=_id("job", node.name),
        name=node.name,
        dag_name="random",
        activation="reactive" if node.reads else "source",
        strategy="Full" if node.is_full else "PerPartition",
        inputs=tuple(
            JobInput(_id("dataset", r.dataset), r.dataset, r.dataset, _mapping(by_name, node, r))
            for r in node.reads
        ),
        outputs=(_id("dataset", node.name),),
    )


def _mapping(by_name: dict[str, Node], target: Node, read: Read) -> object:
    if read.is_all:
        return "all"
    if read.window is None:
        return None
    both = by_name[read.dataset].has_origin and target.has_origin
    entry = {"dt": {"from": "dt", "window": list(read.window)}}
    return entry | ({"origin": "origin"} if both else {})


def _plan(
    world: Lineage,
    nodes: Sequence[Node],
    made: Sequence[Change],
    existing: dict[str, set[Key]],
    processed_by: frozenset[UUID] = frozenset(),
) -> Plan:
    loaded = {
        _id("dataset", n.name): world.space(_id("dataset", n.name)).from_keys(
            map(text, existing[n.name])
        )
        for n in nodes
    }
    invalidations = [_invalidation(n, change, processed_by) for n, change in enumerate(made)]
    return plan(world, invalidations, lookup_in(loaded), NOW)


def _invalidation(n: int, change: Change, processed_by: frozenset[UUID]) -> Invalidation:
    return Invalidation(
        id=_id("change", str(n)),
        dataset=_id("dataset", change.dataset),
        version=_id("version", change.dataset),
        reason="rewritten" if change.is_rewrite else "change",
        partition_key=None if change.keys is None else _scope(change.keys),
        columns=change.columns,
        processed_by=processed_by,
    )


def _scope(keys: frozenset[Key]) -> str:
    """Keys that form a box, as one text."""
    first, last = (dict(key) for key in (min(keys), max(keys)))
    parts = {}
    if "dt" in first:
        ends = [_part("dt", end["dt"], ()) for end in (first, last)]
        parts["dt"] = "..".join(ends)
    if "origin" in first:
        origins = {dict(key)["origin"] for key in keys}
        parts["origin"] = origins.pop() if len(origins) == 1 else "*"
    if len(parts) == 1:
        return next(iter(parts.values()))
    return "/".join(f"{name}={part}" for name, part in parts.items()) or "*"


def _name(world: Lineage, job: UUID) -> str:
    return world.job(job).name


def _keys(partitions) -> set[str]:
    return set(partitions.space.keys(partitions))


def _dirty(world: Lineage, step: Step) -> Mapping[UUID, DirtyColumns]:
    return step.dirty_columns(world.job(step.job).outputs)


def _columns(columns) -> set[str] | None:
    (dirty,) = columns.values()
    return None if dirty is ALL_COLUMNS else set(dirty)
