"""Events about edits of sources: exact or wider scopes, columns, and row filters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from engine.model.event import SourceEvent
from tests.simulation.dimensions import Key, Space, is_finite, read_text, text
from tests.simulation.edits import Edit, core
from tests.simulation.fingerprints import fingerprint
from tests.simulation.rows import ID
from tests.simulation.state import SimulationState
from tests.simulation.world import GROUP, Columns, Job


class SourceEvents:
    """Writer of events; ``versioned`` events name a dataset version."""

    def __init__(self, state: SimulationState) -> None:
        self.state = state
        self.named: defaultdict[str, set[Key]] = defaultdict(set)
        """Partitions named by events, by source."""
        self.versioned: list[SourceEvent] = []

    def about(self, rng: Random, job: Job, edit: Edit, existing: set[Key]) -> Iterator[SourceEvent]:
        """Yield one event for all partitions, or one for each."""
        is_split = len(edit.keys) > 1 and rng.random() < 0.5
        for keys in [[key] for key in edit.keys] if is_split else [edit.keys]:
            partitions = self._scope(rng, job, keys, existing)
            rows = None
            # A filter may restrict only changes of existing partitions.
            if {*keys} <= existing and rng.random() < _filter_probability(job, edit):
                rows = _filter(rng, job, edit, keys)
                partitions = None if rng.random() < 0.5 else partitions
            yield self._event(rng, job, edit, partitions, rows)

    def _event(
        self,
        rng: Random,
        job: Job,
        edit: Edit,
        partitions: tuple[str, ...] | None,
        rows: dict[str, Any] | None,
    ) -> SourceEvent:
        dataset = job.outputs[0].name
        named = set().union(*(read_text(job.space, partition) for partition in partitions or ()))
        named |= set() if job.space else {()}
        columns = edit.columns
        is_new = not named <= self.named[dataset]
        # Some events about new partitions still name columns: those of the first rows.
        if rng.random() < (0.5 if is_new else 0.08):
            columns = None
        described = None
        if job.is_fingerprinted and rng.random() < 0.8:
            columns = rows = None
            described = fingerprint(self.state, job, named)
            self.state.counts["event with a fingerprint"] += 1
        if is_new:
            rows = None
        self._count(job, named, columns, rows, partitions)
        self.named[dataset] |= named
        arrivals = 0 if edit.verb != "insert" else 6 if job.grows else 2
        reasons = ["change", "correction"] + ["arrival"] * arrivals
        reasons += ["schedule"] * (edit.verb == "insert" and job.grows)
        event = SourceEvent(
            dataset=dataset,
            partitions=partitions,
            columns=None if columns is None else tuple(sorted(columns)),
            rows=rows,
            reason=rng.choice(reasons),
            version=str(self.state.versions[dataset]) if rng.random() < 0.1 else None,
            fingerprint=described,
        )
        if event.version is not None:
            self.state.counts["event of a version"] += 1
            self.versioned.append(event)
        return event

    def _count(
        self,
        job: Job,
        named: set[Key],
        columns: Columns,
        rows: dict[str, Any] | None,
        partitions: tuple[str, ...] | None,
    ) -> None:
        by = "group" if GROUP in (rows or ()) else "id" if ID in (rows or ()) else "partition"
        features = {
            "event of the whole dataset": partitions is None,
            "event of a range": len(named) > 1,
            "event of columns": columns is not None,
            f"event of rows by {by}": rows is not None,
            "event of a new partition": not named <= self.named[job.outputs[0].name],
        }
        self.state.counts.update(name for name, is_present in features.items() if is_present)

    def _scope(
        self, rng: Random, job: Job, keys: Sequence[Key], existing: set[Key]
    ) -> tuple[str, ...] | None:
        """Return the partitions, or a wider scope containing them."""
        space, chance, key = job.space, rng.random(), keys[0]
        if chance < 0.1 and ({*keys} <= existing or not space):
            return None
        if len(keys) > 1:
            return tuple(text(space, key) for key in keys)
        if chance < 0.2 and len(space) > 1 and is_finite(space):
            i = rng.randrange(len(space))
            return (f"{space[i].name}={key[i]}",)
        if chance < 0.35 and len(space) == 1 and space[0].is_ordered:
            other = rng.choice(core(job))
            first, last = sorted([key[0], other[0]], key=space[0].grid.index)
            return (f"{first}..{last}",)
        return (text(space, key),)


def keys_of_edit(job: Job, edit: Edit) -> tuple[str, ...] | None:
    return tuple(text(job.space, key) for key in edit.keys) if job.space else None


def _filter_probability(job: Job, edit: Edit) -> float:
    """Return the probability that an event names rows; followers need both new and changed rows."""
    if not job.grows:
        return 0.3
    return 0.1 if edit.verb == "insert" else 0.7


def _filter(rng: Random, job: Job, edit: Edit, keys: Sequence[Key]) -> dict[str, Any] | None:
    """Return a row filter matching the affected rows: by partition, group or id."""
    filters: list[dict[str, Any]] = []
    if len(keys) == 1 and job.space:
        filters += by_partition(rng, job.space, keys[0])
    if edit.groups is not None:
        values = sorted(edit.groups)
        filters += [{GROUP: values[0] if len(values) == 1 else {"in": values}}] * 4
    if job.declares_columns:
        filters.append({ID: rng.choice([edit.row, {"gte": edit.row, "lte": edit.row + 1}])})
    return rng.choice(filters) if filters else None


def by_partition(rng: Random, space: Space, key: Key) -> list[dict[str, Any]]:
    i = rng.randrange(len(space))
    d = space[i]
    if d.kind == "range":
        lo, hi = d.span(d.grid.index(key[i]))
        return [{d.name: rng.choice([{"gte": lo, "lt": hi}, {"in": [lo, hi - 1]}, hi - 1])}]
    if d.kind == "time":
        return [{d.name: {"gte": key[i], "lte": key[i]}}] if d.grain == "day" else []
    return [{d.name: rng.choice([key[i], {"in": [key[i]]}])}]


def event_text(event: SourceEvent) -> str:
    """Return a short description of an event."""
    partitions = "all" if event.partitions is None else ",".join(event.partitions)
    columns = "" if event.columns is None else f" of {','.join(event.columns)}"
    rows = "" if event.rows is None else f" where {event.rows}"
    described = "" if event.fingerprint is None else f" as {event.fingerprint}"
    return f"{event.reason} {event.dataset}[{partitions}]{columns}{rows}{described}"
