"""Changes of sources, with events published late, twice, and in any order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import msgspec
import pytest

from consumers.manual import invalidate
from engine.errors import UnknownName
from engine.model.event import SourceEvent
from tests.simulation.crashes import Crash
from tests.simulation.dimensions import Dimension, Key, Space, is_finite, read_text, text, universe
from tests.simulation.rows import ID, Rows
from tests.simulation.state import SimulationState
from tests.simulation.world import GROUP, Columns, Job, Values


@dataclass
class Edit:
    """An edit of a source: partitions, columns (None: rows inserted or deleted) and groups."""

    verb: str
    keys: Sequence[Key]
    row: int
    groups: Values
    columns: Columns = None


class Upstream:
    """Sources and their events, published (``stream``) and ``unpublished``."""

    def __init__(self, state: SimulationState) -> None:
        self.state = state
        self.stream: list[SourceEvent] = []
        self.unpublished: list[SourceEvent] = []
        self.named_by_events: defaultdict[str, set[Key]] = defaultdict(set)
        self.unusable: set[int] = set()
        self.versioned: list[SourceEvent] = []
        self._touched: str | None = None
        self._ids: defaultdict[str, int] = defaultdict(int)

    async def change(self, rng: Random) -> None:
        """Change sources, leaving the events for later."""
        for _ in range(rng.choice([1, 1, 2, 4])):
            await self._change_one(rng)

    async def burst(self, rng: Random) -> None:
        """Change sources many times, and publish all events together."""
        for _ in range(rng.randint(8, 14)):
            await self._change_one(rng)
        self.state.log_line("burst", "burst of events")
        while self.unpublished:
            await self._send(rng, self.unpublished.pop(0))

    async def _change_one(self, rng: Random) -> None:
        job = rng.choice(self.state.world.sources)
        await self._record_events(rng, job, self._edit(rng, job))

    async def touch(self, rng: Random) -> None:
        """Change a single value in the first source, usually in another column than last time.

        If the source has no rows, insert some.
        """
        await self._touch(rng, self.state.world.sources[0])

    async def touch_last(self, rng: Random) -> None:
        """Change a single value in the last source."""
        await self._touch(rng, self.state.world.sources[-1])

    async def _touch(self, rng: Random, job: Job) -> None:
        filled = sorted((k, r) for k, r in self._data(job).items() if r)
        if filled:
            await self._record_events(rng, job, self._touch_one(rng, job, *rng.choice(filled)))
        else:
            await self._grow(rng, job)

    def _touch_one(self, rng: Random, job: Job, key: Key, rows: Rows) -> Edit:
        n, columns = rng.choice(sorted(rows)), [c for c in job.outputs[0].columns if c != GROUP]
        column = rng.choice([c for c in columns if c != self._touched] * 4 + columns)
        self._touched = column
        rows[n][column] = (rows[n][column] + rng.randint(1, 3)) % 4
        return Edit("update", [key], n, _groups(rows[n]), frozenset({column}))

    async def touch_to_new(self, rng: Random) -> None:
        """Change a single value in the first source; the event names a range of partitions.

        The range ends with the nearest partition not yet named by an event.
        """
        job = self.state.world.sources[0]
        new = sorted({*core(job)} - self.named_by_events[job.outputs[0].name])
        await self._touch_in_range(rng, job, new, is_filtered=False)

    async def touch_in_range(self, rng: Random) -> None:
        """Change a single value in the first source; the event names a range of partitions.

        The event's row filter selects only the partition of the changed row.
        """
        job = self.state.world.sources[0]
        known = sorted(self.named_by_events[job.outputs[0].name])
        await self._touch_in_range(rng, job, known, is_filtered=True)

    async def _touch_in_range(
        self, rng: Random, job: Job, ends: Sequence[Key], *, is_filtered: bool
    ) -> None:
        filled, grid = await self._filled(job), job.space[0].grid
        if not filled:
            await self._touch(rng, job)
            return
        edit = self._touch_one(rng, job, *rng.choice(filled))
        (edited,) = edit.keys[0]
        others = [key for (key,) in ends if key != edited] or [edited]
        nearest = min(others, key=lambda key: abs(grid.index(key) - grid.index(edited)))
        first, last = sorted([edited, nearest], key=grid.index)
        rows = rng.choice(_by_partition(rng, job.space, (edited,))) if is_filtered else None
        self._publish_later(job, edit, (f"{first}..{last}",), rows)

    async def grow(self, rng: Random) -> None:
        """Insert rows into the first source."""
        await self._grow(rng, self.state.world.sources[0])

    async def _grow(self, rng: Random, job: Job) -> None:
        for _ in range(rng.randint(1, 3)):
            await self._insert_into(rng, job, core(job))

    async def appear(self, rng: Random) -> None:
        """Insert a row into a partition of the first source not yet named by an event."""
        job = self.state.world.sources[0]
        new = sorted({*core(job)} - self.named_by_events[job.outputs[0].name])
        if new:
            await self._insert_into(rng, job, new)

    async def _insert_into(self, rng: Random, job: Job, keys: Sequence[Key]) -> None:
        key = rng.choice(keys)
        rows = self._data(job).setdefault(key, {})
        await self._record_events(rng, job, self._insert(rng, job, key, rows))

    async def touch_row(self, rng: Random) -> None:
        """Change a row of the first source; the event names the row."""
        job = self.state.world.sources[0]
        if filled := await self._filled(job):
            edit = self._update(rng, job, *rng.choice(filled), max_columns=1)
            self.state.counts["event of rows by id"] += 1
            self._publish_later(job, edit, _keys_of(job, edit), {ID: edit.row})

    async def touch_group(self, rng: Random) -> None:
        """Change a row of the first source; the event names the row's group."""
        job = self.state.world.sources[0]
        if filled := await self._filled(job):
            edit = self._touch_one(rng, job, *rng.choice(filled))
            self.state.counts["event of rows by group"] += 1
            (group,) = edit.groups or ()
            self._publish_later(job, edit, _keys_of(job, edit), {GROUP: group})

    async def _filled(self, job: Job) -> list[tuple[Key, Rows]]:
        """Return the existing non-empty partitions; empty if the source declares no columns."""
        existing = (await self.state.existing())[job.outputs[0].name]
        if not job.declares_columns:
            return []
        return sorted((k, rows) for k, rows in self._data(job).items() if rows and k in existing)

    def _publish_later(
        self,
        job: Job,
        edit: Edit,
        partitions: tuple[str, ...] | None,
        rows: dict[str, Any] | None = None,
    ) -> None:
        """Record an event about an edit for later publication."""
        dataset = job.outputs[0].name
        event = SourceEvent(
            dataset=dataset,
            partitions=partitions,
            columns=tuple(sorted(edit.columns or ())),
            rows=rows,
            reason="correction",
        )
        for partition in partitions or ():
            self.named_by_events[dataset] |= read_text(job.space, partition)
        self.unpublished.append(event)
        self.state.log_line(
            f"{edit.verb} {dataset}{[*map(list, edit.keys)]}: {event_text(event)}", edit.verb
        )

    async def _record_events(self, rng: Random, job: Job, edit: Edit) -> None:
        dataset = job.outputs[0].name
        existing = (await self.state.existing())[dataset]
        events = list(self._events(rng, job, edit, existing))
        self.unpublished += events
        described = "; ".join(event_text(event) for event in events)
        self.state.log_line(
            f"{edit.verb} {dataset}{[*map(list, edit.keys)]}: {described}", edit.verb
        )

    # -- the data ------------------------------------------------------------------------------

    def _edit(self, rng: Random, job: Job) -> Edit:
        data = self._data(job)
        filled = sorted(key for key, rows in data.items() if rows)
        key = rng.choice(filled) if filled and rng.random() < 0.75 else rng.choice(core(job))
        rows = data.setdefault(key, {})
        verbs = ["insert", "insert"]
        if rows:
            verbs += ["update"] * 8
            if not job.grows:
                verbs += ["delete", "move"] + ["regroup"] * (GROUP in job.outputs[0].columns)
        return self._edits()[rng.choice(verbs)](rng, job, key, rows)

    def _data(self, job: Job) -> dict[Key, Rows]:
        return self.state.sources[job.outputs[0].name]

    def _edits(self) -> dict[str, Callable[[Random, Job, Key, Rows], Edit]]:
        return {
            "insert": self._insert,
            "update": self._update,
            "delete": self._delete,
            "move": self._move,
            "regroup": self._regroup,
        }

    def _insert(self, rng: Random, job: Job, key: Key, rows: Rows) -> Edit:
        self._ids[job.name] += 1
        new = self._ids[job.name]
        rows[new] = {column: _value(rng, job, column) for column in job.outputs[0].columns}
        return Edit("insert", [key], new, _groups(rows[new]))

    def _update(self, rng: Random, job: Job, key: Key, rows: Rows, max_columns: int = 2) -> Edit:
        n = rng.choice(sorted(rows))
        plain = [column for column in job.outputs[0].columns if column != GROUP]
        touched = rng.sample(plain, rng.choice([1, 1, max_columns]))
        rows[n].update({column: _value(rng, job, column) for column in touched})
        return Edit("update", [key], n, _groups(rows[n]), frozenset(touched))

    def _delete(self, rng: Random, job: Job, key: Key, rows: Rows) -> Edit:
        n = rng.choice(sorted(rows))
        return Edit("delete", [key], n, _groups(rows.pop(n)))

    def _move(self, rng: Random, job: Job, key: Key, rows: Rows) -> Edit:
        n, to = rng.choice(sorted(rows)), rng.choice(core(job))
        row = rows.pop(n)
        self._data(job).setdefault(to, {})[n] = row
        return Edit("move", [key, to], n, _groups(row))

    def _regroup(self, rng: Random, job: Job, key: Key, rows: Rows) -> Edit:
        n = rng.choice(sorted(rows))
        before = rows[n][GROUP]
        rows[n][GROUP] = _value(rng, job, GROUP)
        return Edit("regroup", [key], n, frozenset({before, rows[n][GROUP]}), frozenset({GROUP}))

    def replace_rows(self, rng: Random, job: Job) -> None:
        """Change the values of all rows, as if read from another table.

        In growing sources, rows keep their groups.
        """
        kept = {GROUP} if job.grows else set()
        others = [column for column in job.outputs[0].columns if column not in kept]
        for rows in self._data(job).values():
            for row in rows.values():
                row.update({column: _value(rng, job, column) for column in others})

    def alter_rows(self, job: Job, columns: set[str]) -> None:
        """Add the job's columns to all rows, and drop columns removed from the job."""
        for rows in self._data(job).values():
            for row in rows.values():
                for column in columns:
                    row.pop(column, None)
                    if column in job.outputs[0].columns:
                        row[column] = 0

    def narrow(self, job: Job) -> None:
        """Drop rows outside the narrowed bounds of a source, and announce the remaining partitions.

        Events naming any partition outside the bounds are rejected entirely.
        """
        name, within = job.outputs[0].name, {*universe(job.space)}
        self.state.announced[name] &= within
        self.named_by_events[name] &= within
        data = self._data(job)
        for key in data.keys() - within:
            del data[key]
        self.unpublished = [event for event in self.unpublished if event.dataset != name]
        remaining = tuple(text(job.space, key) for key in sorted(self.named_by_events[name]))
        if remaining:
            self.unpublished.append(
                SourceEvent(dataset=name, partitions=remaining, reason="change")
            )

    # -- events about the data -----------------------------------------------------------------

    def _events(self, rng: Random, job: Job, edit: Edit, existing: set[Key]) -> Any:
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
        is_new = not named <= self.named_by_events[dataset]
        # Some events about new partitions still name columns: those of the first rows.
        if rng.random() < (0.5 if is_new else 0.08):
            columns = None
        if is_new:
            rows = None
        self._count(job, named, columns, rows, partitions)
        self.named_by_events[dataset] |= named
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
        )
        if event.version is not None:
            self.state.counts["event of a version"] += 1
            self.versioned.append(event)
        return event

    def republish_versioned(self, dataset: str) -> None:
        """Publish events naming a replaced version again, because they had no effect."""
        renewed = [event for event in self.versioned if event.dataset == dataset]
        self.versioned = [event for event in self.versioned if event.dataset != dataset]
        self.unpublished += [msgspec.structs.replace(event, version=None) for event in renewed]

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
            "event of a new partition": not named <= self.named_by_events[job.outputs[0].name],
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

    async def publish(self, rng: Random) -> None:
        """Publish events in random order, some twice, some as manual requests."""
        for _ in range(rng.randint(1, 3)):
            if self.unpublished:
                index = rng.randrange(len(self.unpublished))
                self.state.counts["event out of order"] += index > 0
                await self._send(rng, self.unpublished.pop(index))

    async def _send(self, rng: Random, event: SourceEvent) -> None:
        if rng.random() < 0.25:
            named = msgspec.structs.replace(event, id=f"{rng.random()}")
            for _ in range(rng.choice([1, 1, 2])):
                await self._request(rng, named)
            return
        copies = rng.choice([1, 1, 1, 2])
        self.stream += [event] * copies
        self.state.counts["event published twice"] += copies > 1
        self.state.log_line(
            f"publish {event_text(event)}" + (" twice" if copies > 1 else ""), "event"
        )

    async def _request(self, rng: Random, event: SourceEvent) -> None:
        """Request an invalidation; after a crash, repeat the request with the same id."""
        state = self.state
        state.log_line(f"request {event_text(event)}", "manual request")
        if event.dataset not in state.world.producers:
            with pytest.raises(UnknownName):  # removed by a deploy
                await state.do(
                    "request", lambda conn: invalidate(conn, state.org_contexts[0], event)
                )
            return
        try:
            requested = await state.do(
                "request", lambda conn: invalidate(conn, state.org_context(rng), event), rng
            )
        except Crash:
            requested = await state.do(
                "request", lambda conn: invalidate(conn, state.org_context(rng), event)
            )
        state.record_events(requested.invalidations, [event])

    def publish_all(self) -> None:
        """Publish all remaining events."""
        while self.unpublished:
            event = self.unpublished.pop(0)
            self.stream.append(event)
            self.state.log_line(f"publish {event_text(event)}", "event")


def _keys_of(job: Job, edit: Edit) -> tuple[str, ...] | None:
    return tuple(text(job.space, key) for key in edit.keys) if job.space else None


def core(job: Job) -> list[Key]:
    """Return the partitions in use; for unbounded dimensions, some in the middle."""
    return sorted(universe(tuple(_middle(d) for d in job.space)))


def _middle(d: Dimension) -> Dimension:
    if d.is_finite or not d.is_ordered:
        return d
    lo = d.bounds[0] if d.bounds[0] is not None else len(d.grid) // 2 - 2
    return replace(d, bounds=(lo, lo + 4))


def _value(rng: Random, job: Job, column: str) -> Any:
    return rng.choice(job.alphabet) if column == GROUP else rng.randrange(4)


def _groups(row: dict[str, Any]) -> Values:
    return frozenset({row[GROUP]}) if GROUP in row else None


def _filter_probability(job: Job, edit: Edit) -> float:
    """Return the probability that an event names rows; followers need both new and changed rows."""
    if not job.grows:
        return 0.3
    return 0.1 if edit.verb == "insert" else 0.7


def _filter(rng: Random, job: Job, edit: Edit, keys: Sequence[Key]) -> dict[str, Any] | None:
    """Return a row filter matching the affected rows: by partition, group or id."""
    filters: list[dict[str, Any]] = []
    if len(keys) == 1 and job.space:
        filters += _by_partition(rng, job.space, keys[0])
    if edit.groups is not None:
        values = sorted(edit.groups)
        filters += [{GROUP: values[0] if len(values) == 1 else {"in": values}}] * 4
    if job.declares_columns:
        filters.append({ID: rng.choice([edit.row, {"gte": edit.row, "lte": edit.row + 1}])})
    return rng.choice(filters) if filters else None


def _by_partition(rng: Random, space: Space, key: Key) -> list[dict[str, Any]]:
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
    return f"{event.reason} {event.dataset}[{partitions}]{columns}{rows}"


__all__ = ["Upstream", "event_text", "core"]
