"""Measure for the first law: recomputation of everything, and the partitions expected to exist."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any
from zlib import crc32

from tests.simulation.dimensions import Key, is_finite, universe
from tests.simulation.mapping import Read, is_tight, needed
from tests.simulation.rows import Partitions, Rows
from tests.simulation.world import EVERY, GROUP, Columns, Job, Output, World

Existing = Mapping[str, Collection[Key]]
"""Existing partitions by dataset."""
IsNeeded = Callable[[World, Job, Key, Existing], bool]
"""Function that returns whether a first run waits for a missing partition of a job."""


def _any(*_: object) -> bool:
    return True


def make(
    world: World,
    job: Job,
    key: Key,
    data: Callable[[str], Partitions],
    existing: Callable[[str], Collection[Key]],
) -> dict[str, Rows]:
    """Return the content of a partition by output, computed from declared inputs only."""
    read = {
        r.dataset: _read(world, job, r, key, data(r.dataset), existing(r.dataset))
        for r in job.reads
    }
    return {output.name: _content(job, output, key, read) for output in job.outputs}


def reads_any(world: World, job: Job, key: Key, existing: Existing, marked: Existing) -> bool:
    """Return whether an output partition reads an existing, marked input partition."""
    return any(
        not needed(
            read, world.producers[read.dataset].space, job.space, key, existing[read.dataset]
        ).isdisjoint(marked[read.dataset])
        for read in job.reads
    )


def _content(job: Job, output: Output, key: Key, read: Mapping[str, Partitions]) -> Rows:
    if job.kind == "fold":
        if job.may_be_empty and not _hash(job, output, key, read) % 2:
            return {}
        return {0: {column: _fold(job, output, column, key, read) for column in output.columns}}
    rows = {
        n: row for _, part in sorted(read[job.reads[0].dataset].items()) for n, row in part.items()
    }
    return {
        n: {column: _of_row(job, output, column, n, row, read) for column in output.columns}
        for n, row in rows.items()
    }


def _fold(job: Job, output: Output, column: str, key: Key, read: Mapping[str, Partitions]) -> int:
    return _hashed(job, output, column, key, _visible_inputs(output, column, read))


def _hash(job: Job, output: Output, key: Key, read: Mapping[str, Partitions]) -> int:
    """Return a number depending on the entire input, for jobs without declared column lineage."""
    return crc32(repr((output.name, key, _visible_inputs(output, EVERY, read))).encode())


def _of_row(
    job: Job,
    output: Output,
    column: str,
    n: int,
    row: Mapping[str, Any],
    read: Mapping[str, Partitions],
) -> Any:
    """Return a column of a row, from the row and all other inputs; for windows, from all rows."""
    if column == GROUP:
        return row[GROUP]
    own = job.reads[0].dataset
    visible = _visible_inputs(output, column, {d: data for d, data in read.items() if d != own})
    rows_in_view = read[own] if job.kind == "window" else {(): {n: row}}
    own_values = _visible(rows_in_view, output.reads(own, column))
    return _hashed(job, output, column, n, [(own, own_values), *visible])


def _hashed(job: Job, output: Output, column: str, subject: Any, visible: Any) -> int:
    content = repr((job.salt, output.name, column, subject, visible))
    return crc32(content.encode()) % job.modulus


def _visible_inputs(output: Output, column: str, read: Mapping[str, Partitions]) -> list[Any]:
    visible = [(d, _visible(data, output.reads(d, column))) for d, data in sorted(read.items())]
    return [pair for pair in visible if pair[1]]


def _visible(partitions: Partitions, columns: Columns) -> Any:
    """Return the content of some columns; without columns, rows are not visible either."""
    if columns is not None and not columns:
        return None
    return [(key, sorted((n, _picked(row, columns)) for n, row in rows.items()))
            for key, rows in sorted(partitions.items())]  # fmt: skip


def _picked(row: Mapping[str, Any], columns: Columns) -> list[tuple[str, Any]]:
    return [(column, row.get(column)) for column in sorted(row if columns is None else columns)]


def _read(
    world: World, job: Job, read: Read, key: Key, data: Partitions, existing: Collection[Key]
) -> Partitions:
    source = world.producers[read.dataset].space
    keys = needed(read, source, job.space, key, existing if read.latest is not None else data)
    inputs = {source_key: data[source_key] for source_key in keys if source_key in data}
    if read.grouped is None:
        return inputs
    kept = {k: _group(rows, key[read.grouped]) for k, rows in inputs.items()}
    return {k: rows for k, rows in kept.items() if rows}


def _group(rows: Rows, group: str) -> Rows:
    return {n: row for n, row in rows.items() if row[GROUP] == group}


def recomputed(
    world: World, sources: Mapping[str, Partitions], existing: Existing
) -> dict[str, dict[Key, Rows]]:
    """Recompute all existing partitions from the sources."""
    content: dict[str, dict[Key, Rows]] = {
        name: dict(partitions) for name, partitions in sources.items()
    }
    for job in world.jobs:
        for output in job.outputs:
            content.setdefault(output.name, {})
        for key in () if job.is_source else existing[job.outputs[0].name]:
            outputs = make(world, job, key, content.__getitem__, existing.__getitem__)
            for name, rows in outputs.items():
                content[name][key] = rows
    return content


def must_exist(
    world: World, job: Job, existing: Existing, sources: Mapping[str, Partitions]
) -> set[Key]:
    """Return the partitions reached by existing inputs.

    An input not linked to an output dimension reaches the keys determined by linked inputs, or,
    without any, all keys within bounds. Jobs following rows produce the groups found in the rows.
    """
    if job.follows and job.space:
        return _groups_found(job, existing, sources)
    reached = {
        read: _reached(world, job, read, existing[read.dataset]) for read in job.upstream_reads
    }
    if job.is_single_run and is_finite(job.space):
        return {*universe(job.space)} if any(reached.values()) else set()
    followed = [read for read in job.upstream_reads if is_tight(read, job.space)]
    followed = followed or [read for read in job.upstream_reads if _ends(read, job)]
    if not followed:
        return _reached_together(job, reached)
    return {
        key
        for read in followed
        for key in reached[read]
        if all(
            d.kind == "static" or _is_reached(i, key[i], read, reached)
            for i, d in enumerate(job.space)
        )
    }


def _reached(world: World, job: Job, read: Read, existing: Collection[Key]) -> set[Key]:
    space = world.producers[read.dataset].space
    return {k for k in universe(job.space) if needed(read, space, job.space, k, existing)}


def _reached_together(job: Job, reached: Mapping[Read, set[Key]]) -> set[Key]:
    """Return the partitions reached by all inputs determining unbounded dimensions.

    Empty unless each unbounded dimension is determined by an input.
    """
    unbounded = {i for i, d in enumerate(job.space) if not d.is_finite}
    linked = {read: {link.target for link in read.links} & unbounded for read in reached}
    if set().union(*linked.values()) != unbounded:
        return set()
    parts = [keys for read, keys in reached.items() if linked[read]]
    return set.intersection(*parts) if parts else set()


def _is_reached(i: int, part: str, read: Read, reached: Mapping[Read, set[Key]]) -> bool:
    """Return whether the input, or else a linked input, reaches the key of a dimension."""
    if any(link.target == i for link in read.links):
        return True
    others = [r for r in reached if any(link.target == i for link in r.links)]
    return not others or any(key[i] == part for r in others for key in reached[r])


def _groups_found(job: Job, existing: Existing, sources: Mapping[str, Partitions]) -> set[Key]:
    dataset = job.reads[0].dataset
    partitions = (sources[dataset].get(key, {}) for key in existing[dataset])
    return {(row[GROUP],) for rows in partitions for row in rows.values()}


def may_exist(world: World, job: Job, existing: Existing) -> set[Key]:
    """Return the partitions with at least one existing input."""
    keys = {*universe(job.space)}
    if job.is_single_run and is_finite(job.space):
        return keys
    spaces = {read.dataset: world.producers[read.dataset].space for read in job.upstream_reads}
    return {
        key
        for key in keys
        for read in job.upstream_reads
        if needed(read, spaces[read.dataset], job.space, key, existing[read.dataset])
    }


def _ends(read: Read, job: Job) -> bool:
    linked = {link.target for link in read.links}
    return all(i in linked or d.is_finite for i, d in enumerate(job.space))


def task_waits(
    world: World,
    job: Job,
    keys: Collection[Key],
    existing: Existing,
    is_needed: IsNeeded = _any,
) -> bool:
    """Return whether a task must wait for inputs of its never-built partitions.

    A task without named partitions may build any, as long as none has been built. No task waits for
    partitions that are not in being.
    """
    built = existing[job.outputs[0].name]
    if keys or built:
        return waits(world, job, [key for key in keys if key not in built], existing, is_needed)
    return any(_lacks_required(world, job, read, existing, is_needed) for read in job.reads)


def _lacks_required(
    world: World, job: Job, read: Read, existing: Existing, is_needed: IsNeeded
) -> bool:
    """Return whether an input lacks partitions that some key needs; if unbounded, one is enough."""
    source, keys = world.producers[read.dataset].space, [*universe(job.space)]
    is_unbounded = read.wait_for != "any" and any(
        link.keymap is None
        and not source[link.source].is_finite
        and not job.space[link.target].is_finite
        for link in read.links
    )
    read = replace(read, wait_for=1) if is_unbounded else read
    return _lacks(world, job, read, keys, existing, is_needed)


def waits(
    world: World,
    job: Job,
    first: Collection[Key],
    existing: Existing,
    is_needed: IsNeeded = _any,
) -> bool:
    """Return whether the first run of these output partitions must wait for inputs."""
    if job.is_single_run:
        return bool(first) and _lack(world, job, first, existing, is_needed)
    return any(_lack(world, job, [key], existing, is_needed) for key in first)


def _lack(
    world: World, job: Job, keys: Collection[Key], existing: Existing, is_needed: IsNeeded
) -> bool:
    return any(_lacks(world, job, read, keys, existing, is_needed) for read in job.reads)


def _lacks(
    world: World,
    job: Job,
    read: Read,
    keys: Collection[Key],
    existing: Existing,
    is_needed: IsNeeded,
) -> bool:
    if read.wait_for == "any":
        return False
    producer = world.producers[read.dataset]
    source = producer.space
    among = {s for s in universe(source) if is_needed(world, producer, s, existing)}
    if read == job.own_read:
        among &= may_exist(world, job, existing) | {*existing[read.dataset]}
    all_needed = {s for key in keys for s in needed(read, source, job.space, key, among)}
    total = len(all_needed)
    least = total if read.wait_for == "all" else min(int(read.wait_for), total)
    return len(all_needed & {*existing[read.dataset]}) < (least if least >= 0 else total + least)
