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
from tests.simulation.stage import Stage
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

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.stream: list[SourceEvent] = []
        self.unpublished: list[SourceEvent] = []
        self.named_by_events: defaultdict[str, set[Key]] = defaultdict(set)
        self.unusable: set[int] = set()
        self.versioned: list[SourceEvent] = []
        self._touched: str | None = None
        self._ids: defaultdict[str, int] = defaultdict(int)

    async def change(self, dice: Random) -> None:
        """Change sources, leaving the events for later."""
        for _ in range(dice.choice([1, 1, 2, 4])):
            await self._change_one(dice)

    async def burst(self, dice: Random) -> None:
        """Change sources many times, and publish all events at once."""
        for _ in range(dice.randint(8, 14)):
            await self._change_one(dice)
        self.stage.log_line("burst", "burst")
        while self.unpublished:
            await self._send(dice, self.unpublished.pop(0))

    async def _change_one(self, dice: Random) -> None:
        job = dice.choice(self.stage.world.sources)
        await self._record_events(dice, job, self._edit(dice, job))

    async def touch(self, dice: Random) -> None:
        """Change a single value in the first source, usually in another column than last time.

        If the source has no rows, insert some.
        """
        await self._touch(dice, self.stage.world.sources[0])

    async def touch_last(self, dice: Random) -> None:
        """Change a single value in the last source."""
        await self._touch(dice, self.stage.world.sources[-1])

    async def _touch(self, dice: Random, job: Job) -> None:
        filled = sorted((k, r) for k, r in self._data(job).items() if r)
        if filled:
            await self._record_events(dice, job, self._touch_one(dice, job, *dice.choice(filled)))
        else:
            await self._grow(dice, job)

    def _touch_one(self, dice: Random, job: Job, key: Key, rows: Rows) -> Edit:
        n, columns = dice.choice(sorted(rows)), [c for c in job.outputs[0].columns if c != GROUP]
        column = dice.choice([each for each in columns if each != self._touched] * 4 + columns)
        self._touched = column
        rows[n][column] = (rows[n][column] + dice.randint(1, 3)) % 4
        return Edit("update", [key], n, _groups(rows[n]), frozenset({column}))

    async def touch_to_new(self, dice: Random) -> None:
        """Change a single value in the first source; the event names a range of partitions.

        The range ends with the nearest partition not yet named by an event.
        """
        job = self.stage.world.sources[0]
        new = sorted({*core(job)} - self.named_by_events[job.outputs[0].name])
        await self._touch_in_range(dice, job, new, is_filtered=False)

    async def touch_in_range(self, dice: Random) -> None:
        """Change a single value in the first source; the event names a range of partitions.

        The event's row filter selects only the partition of the changed row.
        """
        job = self.stage.world.sources[0]
        known = sorted(self.named_by_events[job.outputs[0].name])
        await self._touch_in_range(dice, job, known, is_filtered=True)

    async def _touch_in_range(
        self, dice: Random, job: Job, ends: Sequence[Key], *, is_filtered: bool
    ) -> None:
        filled, grid = await self._filled(job), job.space[0].grid
        if not filled:
            await self._touch(dice, job)
            return
        edit = self._touch_one(dice, job, *dice.choice(filled))
        (edited,) = edit.keys[0]
        others = [key for (key,) in ends if key != edited] or [edited]
        nearest = min(others, key=lambda key: abs(grid.index(key) - grid.index(edited)))
        first, last = sorted([edited, nearest], key=grid.index)
        rows = dice.choice(_by_partition(dice, job.space, (edited,))) if is_filtered else None
        self._publish_later(job, edit, (f"{first}..{last}",), rows)

    async def grow(self, dice: Random) -> None:
        """Insert rows into the first source."""
        await self._grow(dice, self.stage.world.sources[0])

    async def _grow(self, dice: Random, job: Job) -> None:
        for _ in range(dice.randint(1, 3)):
            await self._insert_into(dice, job, core(job))

    async def appear(self, dice: Random) -> None:
        """Insert a row into a partition of the first source not yet named by an event."""
        job = self.stage.world.sources[0]
        new = sorted({*core(job)} - self.named_by_events[job.outputs[0].name])
        if new:
            await self._insert_into(dice, job, new)

    async def _insert_into(self, dice: Random, job: Job, keys: Sequence[Key]) -> None:
        key = dice.choice(keys)
        rows = self._data(job).setdefault(key, {})
        await self._record_events(dice, job, self._insert(dice, job, key, rows))

    async def touch_row(self, dice: Random) -> None:
        """Change a row of the first source; the event names the row."""
        job = self.stage.world.sources[0]
        if filled := await self._filled(job):
            edit = self._update(dice, job, *dice.choice(filled), most=1)
            self.stage.counts["event of rows by id"] += 1
            self._publish_later(job, edit, _keys_of(job, edit), {ID: edit.row})

    async def touch_group(self, dice: Random) -> None:
        """Change a row of the first source; the event names the row's group."""
        job = self.stage.world.sources[0]
        if filled := await self._filled(job):
            edit = self._touch_one(dice, job, *dice.choice(filled))
            self.stage.counts["event of rows by group"] += 1
            (group,) = edit.groups or ()
            self._publish_later(job, edit, _keys_of(job, edit), {GROUP: group})

    async def _filled(self, job: Job) -> list[tuple[Key, Rows]]:
        """Return the existing non-empty partitions; empty if the source declares no columns."""
        existing = (await self.stage.existing())[job.outputs[0].name]
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
        for each in partitions or ():
            self.named_by_events[dataset] |= read_text(job.space, each)
        self.unpublished.append(event)
        self.stage.log_line(
            f"{edit.verb} {dataset}{[*map(list, edit.keys)]}: {brief(event)}", edit.verb
        )

    async def _record_events(self, dice: Random, job: Job, edit: Edit) -> None:
        dataset = job.outputs[0].name
        existing = (await self.stage.existing())[dataset]
        events = list(self._events(dice, job, edit, existing))
        self.unpublished += events
        described = "; ".join(brief(event) for event in events)
        self.stage.log_line(
            f"{edit.verb} {dataset}{[*map(list, edit.keys)]}: {described}", edit.verb
        )

    # -- the data ------------------------------------------------------------------------------

    def _edit(self, dice: Random, job: Job) -> Edit:
        data = self._data(job)
        filled = sorted(key for key, rows in data.items() if rows)
        key = dice.choice(filled) if filled and dice.random() < 0.75 else dice.choice(core(job))
        rows = data.setdefault(key, {})
        verbs = ["insert", "insert"]
        if rows:
            verbs += ["update"] * 8
            if not job.grows:
                verbs += ["delete", "move"] + ["regroup"] * (GROUP in job.outputs[0].columns)
        return self._edits()[dice.choice(verbs)](dice, job, key, rows)

    def _data(self, job: Job) -> dict[Key, Rows]:
        return self.stage.sources[job.outputs[0].name]

    def _edits(self) -> dict[str, Callable[[Random, Job, Key, Rows], Edit]]:
        return {
            "insert": self._insert,
            "update": self._update,
            "delete": self._delete,
            "move": self._move,
            "regroup": self._regroup,
        }

    def _insert(self, dice: Random, job: Job, key: Key, rows: Rows) -> Edit:
        self._ids[job.name] += 1
        new = self._ids[job.name]
        rows[new] = {column: _value(dice, job, column) for column in job.outputs[0].columns}
        return Edit("insert", [key], new, _groups(rows[new]))

    def _update(self, dice: Random, job: Job, key: Key, rows: Rows, most: int = 2) -> Edit:
        n = dice.choice(sorted(rows))
        plain = [column for column in job.outputs[0].columns if column != GROUP]
        touched = dice.sample(plain, dice.choice([1, 1, most]))
        rows[n].update({column: _value(dice, job, column) for column in touched})
        return Edit("update", [key], n, _groups(rows[n]), frozenset(touched))

    def _delete(self, dice: Random, job: Job, key: Key, rows: Rows) -> Edit:
        n = dice.choice(sorted(rows))
        return Edit("delete", [key], n, _groups(rows.pop(n)))

    def _move(self, dice: Random, job: Job, key: Key, rows: Rows) -> Edit:
        n, to = dice.choice(sorted(rows)), dice.choice(core(job))
        row = rows.pop(n)
        self._data(job).setdefault(to, {})[n] = row
        return Edit("move", [key, to], n, _groups(row))

    def _regroup(self, dice: Random, job: Job, key: Key, rows: Rows) -> Edit:
        n = dice.choice(sorted(rows))
        before = rows[n][GROUP]
        rows[n][GROUP] = _value(dice, job, GROUP)
        return Edit("regroup", [key], n, frozenset({before, rows[n][GROUP]}), frozenset({GROUP}))

    def replace_rows(self, dice: Random, job: Job) -> None:
        """Change the values of all rows, as if read from another table.

        In growing sources, rows keep their groups.
        """
        kept = {GROUP} if job.grows else set()
        others = [column for column in job.outputs[0].columns if column not in kept]
        for rows in self._data(job).values():
            for row in rows.values():
                row.update({column: _value(dice, job, column) for column in others})

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
        self.stage.announced[name] &= within
        self.named_by_events[name] &= within
        data = self._data(job)
        for key in data.keys() - within:
            del data[key]
        self.unpublished = [event for event in self.unpublished if event.dataset != name]
        left = tuple(text(job.space, key) for key in sorted(self.named_by_events[name]))
        if left:
            self.unpublished.append(SourceEvent(dataset=name, partitions=left, reason="change"))

    # -- events about the data -----------------------------------------------------------------

    def _events(self, dice: Random, job: Job, edit: Edit, existing: set[Key]) -> Any:
        """Yield an event for all partitions, or an event for each."""
        apart = len(edit.keys) > 1 and dice.random() < 0.5
        for keys in [[key] for key in edit.keys] if apart else [edit.keys]:
            partitions = self._scope(dice, job, keys, existing)
            rows = None
            # A filter may restrict only changes of existing partitions.
            if {*keys} <= existing and dice.random() < _filtered(job, edit):
                rows = _filter(dice, job, edit, keys)
                partitions = None if dice.random() < 0.5 else partitions
            yield self._event(dice, job, edit, partitions, rows)

    def _event(
        self,
        dice: Random,
        job: Job,
        edit: Edit,
        partitions: tuple[str, ...] | None,
        rows: dict[str, Any] | None,
    ) -> SourceEvent:
        dataset = job.outputs[0].name
        named = set().union(*(read_text(job.space, each) for each in partitions or ()))
        named |= set() if job.space else {()}
        columns = edit.columns
        is_new = not named <= self.named_by_events[dataset]
        # Some events about new partitions still name columns: those the table began with.
        if dice.random() < (0.5 if is_new else 0.08):
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
            reason=dice.choice(reasons),
            version=str(self.stage.versions[dataset]) if dice.random() < 0.1 else None,
        )
        if event.version is not None:
            self.stage.counts["event of a version"] += 1
            self.versioned.append(event)
        return event

    def renew(self, dataset: str) -> None:
        """Republish events naming a replaced version, which had no effect."""
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
            "event of all": partitions is None,
            "event of a range": len(named) > 1,
            "event of columns": columns is not None,
            f"event of rows by {by}": rows is not None,
            "event about what is new": not named <= self.named_by_events[job.outputs[0].name],
        }
        self.stage.counts.update(name for name, holds in features.items() if holds)

    def _scope(
        self, dice: Random, job: Job, keys: Sequence[Key], existing: set[Key]
    ) -> tuple[str, ...] | None:
        """Return the partitions, or a wider scope containing them."""
        space, chance, key = job.space, dice.random(), keys[0]
        if chance < 0.1 and ({*keys} <= existing or not space):
            return None
        if len(keys) > 1:
            return tuple(text(space, each) for each in keys)
        if chance < 0.2 and len(space) > 1 and is_finite(space):
            i = dice.randrange(len(space))
            return (f"{space[i].name}={key[i]}",)
        if chance < 0.35 and len(space) == 1 and space[0].is_ordered:
            other = dice.choice(core(job))
            first, last = sorted([key[0], other[0]], key=space[0].grid.index)
            return (f"{first}..{last}",)
        return (text(space, key),)

    async def publish(self, dice: Random) -> None:
        """Publish events in random order, some twice, some by request."""
        for _ in range(dice.randint(1, 3)):
            if self.unpublished:
                place = dice.randrange(len(self.unpublished))
                self.stage.counts["event out of order"] += place > 0
                await self._send(dice, self.unpublished.pop(place))

    async def _send(self, dice: Random, event: SourceEvent) -> None:
        if dice.random() < 0.25:
            named = msgspec.structs.replace(event, id=f"{dice.random()}")
            for _ in range(dice.choice([1, 1, 2])):
                await self._by_hand(dice, named)
            return
        copies = dice.choice([1, 1, 1, 2])
        self.stream += [event] * copies
        self.stage.counts["event twice"] += copies > 1
        self.stage.log_line(f"publish {brief(event)}" + (" twice" if copies > 1 else ""), "event")

    async def _by_hand(self, dice: Random, event: SourceEvent) -> None:
        """Request an invalidation; after a crash, repeat the request with the same id."""
        stage = self.stage
        stage.log_line(f"by hand {brief(event)}", "event by hand")
        if event.dataset not in stage.world.makers:
            with pytest.raises(UnknownName):  # removed by a deploy
                await stage.do(
                    "request", lambda conn: invalidate(conn, stage.org_contexts[0], event)
                )
            return
        try:
            done = await stage.do(
                "request", lambda conn: invalidate(conn, stage.org_context(dice), event), dice
            )
        except Crash:
            done = await stage.do(
                "request", lambda conn: invalidate(conn, stage.org_context(dice), event)
            )
        stage.remember(done.invalidations, [event])

    def publish_all(self) -> None:
        """Publish all remaining events."""
        while self.unpublished:
            event = self.unpublished.pop(0)
            self.stream.append(event)
            self.stage.log_line(f"publish {brief(event)}", "event")


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


def _value(dice: Random, job: Job, column: str) -> Any:
    return dice.choice(job.alphabet) if column == GROUP else dice.randrange(4)


def _groups(row: dict[str, Any]) -> Values:
    return frozenset({row[GROUP]}) if GROUP in row else None


def _filtered(job: Job, edit: Edit) -> float:
    """Return how likely an event names rows; followers must see both new and changed rows."""
    if not job.grows:
        return 0.3
    return 0.1 if edit.verb == "insert" else 0.7


def _filter(dice: Random, job: Job, edit: Edit, keys: Sequence[Key]) -> dict[str, Any] | None:
    """Return a row filter matching the affected rows: by partition, group or id."""
    filters: list[dict[str, Any]] = []
    if len(keys) == 1 and job.space:
        filters += _by_partition(dice, job.space, keys[0])
    if edit.groups is not None:
        values = sorted(edit.groups)
        filters += [{GROUP: values[0] if len(values) == 1 else {"in": values}}] * 4
    if job.declares_columns:
        filters.append({ID: dice.choice([edit.row, {"gte": edit.row, "lte": edit.row + 1}])})
    return dice.choice(filters) if filters else None


def _by_partition(dice: Random, space: Space, key: Key) -> list[dict[str, Any]]:
    i = dice.randrange(len(space))
    d = space[i]
    if d.kind == "range":
        lo, hi = d.span(d.grid.index(key[i]))
        return [{d.name: dice.choice([{"gte": lo, "lt": hi}, {"in": [lo, hi - 1]}, hi - 1])}]
    if d.kind == "time":
        return [{d.name: {"gte": key[i], "lte": key[i]}}] if d.grain == "day" else []
    return [{d.name: dice.choice([key[i], {"in": [key[i]]}])}]


def brief(event: SourceEvent) -> str:
    """Return a short description of an event."""
    where = "all" if event.partitions is None else ",".join(event.partitions)
    columns = "" if event.columns is None else f" of {','.join(event.columns)}"
    rows = "" if event.rows is None else f" where {event.rows}"
    return f"{event.reason} {event.dataset}[{where}]{columns}{rows}"


__all__ = ["Upstream", "brief", "core"]
