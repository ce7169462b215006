"""Changes of sources, with events published late, twice, and in any order."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
import pytest

from consumers.manual import invalidate
from consumers.manual.request import Requested
from engine.errors import InvalidInput, InvalidPartition, UnknownName
from engine.model.event import SourceEvent
from tests.simulation.crashes import Crash
from tests.simulation.dimensions import Key, read_text, text, universe
from tests.simulation.edits import Edit, SourceEdits, core
from tests.simulation.events import SourceEvents, by_partition, event_text, keys_of_edit
from tests.simulation.fingerprints import fingerprint
from tests.simulation.rows import ID, Rows
from tests.simulation.state import SimulationState
from tests.simulation.world import GROUP, Job


class Upstream:
    """Sources and their events, published (``stream``) and ``unpublished``."""

    def __init__(self, state: SimulationState) -> None:
        self.state = state
        self.edits = SourceEdits(state)
        self.events = SourceEvents(state)
        self.named_by_events = self.events.named
        self.stream: list[SourceEvent] = []
        self.unpublished: list[SourceEvent] = []
        self.unusable: set[int] = set()

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
        await self._record_events(rng, job, self.edits.edit(rng, job))

    async def touch(self, rng: Random) -> None:
        """Change a single value in the first source, usually in another column than last time.

        If the source has no rows, insert some.
        """
        await self._touch(rng, self.state.world.sources[0])

    async def touch_last(self, rng: Random) -> None:
        """Change a single value in the last source."""
        await self._touch(rng, self.state.world.sources[-1])

    async def _touch(self, rng: Random, job: Job) -> None:
        filled = sorted((k, r) for k, r in self.edits.data(job).items() if r)
        if filled:
            await self._record_events(
                rng, job, self.edits.touch_value(rng, job, *rng.choice(filled))
            )
        else:
            await self._grow(rng, job)

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
        edit = self.edits.touch_value(rng, job, *rng.choice(filled))
        (edited,) = edit.keys[0]
        others = [key for (key,) in ends if key != edited] or [edited]
        nearest = min(others, key=lambda key: abs(grid.index(key) - grid.index(edited)))
        first, last = sorted([edited, nearest], key=grid.index)
        rows = rng.choice(by_partition(rng, job.space, (edited,))) if is_filtered else None
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
        rows = self.edits.data(job).setdefault(key, {})
        await self._record_events(rng, job, self.edits.insert(rng, job, key, rows))

    async def describe(self, rng: Random) -> None:
        """Publish the fingerprint of a partition whose changes are published, without a change."""
        jobs = [job for job in self.state.world.sources if job.is_fingerprinted]
        if not jobs:
            return
        job = rng.choice(jobs)
        dataset = job.outputs[0].name
        known = sorted(self.named_by_events[dataset] & {*universe(job.space)})
        if known:
            key = rng.choice(known)
            event = SourceEvent(
                dataset=dataset,
                partitions=(text(job.space, key),) if job.space else None,
                reason="change",
                fingerprint=fingerprint(self.state, job, {key}),
            )
            self.unpublished.append(event)
            self.state.log_line(f"describe {event_text(event)}")

    async def touch_row(self, rng: Random) -> None:
        """Change a row of the first source; the event names the row."""
        job = self.state.world.sources[0]
        if filled := await self._filled(job):
            edit = self.edits.update(rng, job, *rng.choice(filled), max_columns=1)
            self.state.counts["event of rows by id"] += 1
            self._publish_later(job, edit, keys_of_edit(job, edit), {ID: edit.row})

    async def touch_group(self, rng: Random) -> None:
        """Change a row of the first source; the event names the row's group."""
        job = self.state.world.sources[0]
        if filled := await self._filled(job):
            edit = self.edits.touch_value(rng, job, *rng.choice(filled))
            self.state.counts["event of rows by group"] += 1
            (group,) = edit.groups or ()
            self._publish_later(job, edit, keys_of_edit(job, edit), {GROUP: group})

    async def _filled(self, job: Job) -> list[tuple[Key, Rows]]:
        """Return the existing non-empty partitions; empty if the source declares no columns."""
        existing = (await self.state.existing())[job.outputs[0].name]
        if not job.declares_columns:
            return []
        return sorted(
            (k, rows) for k, rows in self.edits.data(job).items() if rows and k in existing
        )

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
        events = list(self.events.about(rng, job, edit, existing))
        self.unpublished += events
        described = "; ".join(event_text(event) for event in events)
        self.state.log_line(
            f"{edit.verb} {dataset}{[*map(list, edit.keys)]}: {described}", edit.verb
        )

    def announce_again(self, job: Job) -> None:
        """Drop rows outside the bounds of a source, and announce the remaining partitions.

        Events naming any partition outside the bounds are rejected entirely.
        """
        name, within = job.outputs[0].name, {*universe(job.space)}
        self.state.announced[name] &= within
        self.named_by_events[name] &= within
        data = self.edits.data(job)
        for key in data.keys() - within:
            del data[key]
        self.unpublished = [event for event in self.unpublished if event.dataset != name]
        remaining = tuple(text(job.space, key) for key in sorted(self.named_by_events[name]))
        if remaining:
            self.unpublished.append(
                SourceEvent(dataset=name, partitions=remaining, reason="change")
            )

    def drop_removed(self) -> None:
        """Drop events of outputs that name a partition outside their bounds, which are rejected."""
        self.unpublished = [event for event in self.unpublished if self._is_possible(event)]

    def _is_possible(self, event: SourceEvent) -> bool:
        job = self.state.world.producers.get(event.dataset)
        if job is None or job.is_source or not job.space:
            return True
        return all(read_text(job.space, name) for name in event.partitions or ())

    def republish_versioned(self, dataset: str) -> None:
        """Publish events naming a replaced version again, because they had no effect."""
        renewed = [event for event in self.events.versioned if event.dataset == dataset]
        self.events.versioned = [
            event for event in self.events.versioned if event.dataset != dataset
        ]
        self.unpublished += [
            # The fingerprint may no longer be the last one.
            msgspec.structs.replace(event, version=None, fingerprint=None)
            for event in renewed
        ]

    async def publish(self, rng: Random) -> None:
        """Publish events in random order, some twice, some as manual requests."""
        for _ in range(rng.randint(1, 3)):
            if self.unpublished:
                index = self._index(rng.randrange(len(self.unpublished)))
                self.state.counts["event out of order"] += index > 0
                await self._send(rng, self.unpublished.pop(index))

    def _index(self, drawn: int) -> int:
        """Return the index of the event, or of the first one about its source if in order."""
        dataset = self.unpublished[drawn].dataset
        if not self.is_in_order(dataset):
            return drawn
        return next(n for n, event in enumerate(self.unpublished) if event.dataset == dataset)

    def is_in_order(self, dataset: str) -> bool:
        """Return True if events about a dataset arrive in the order of the changes."""
        producer = self.state.world.producers.get(dataset)
        return producer is not None and producer.is_fingerprinted

    async def _send(self, rng: Random, event: SourceEvent) -> None:
        if rng.random() < 0.25 and not self.is_in_order(event.dataset):
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
            requested = await self._requested(rng, event)
        except InvalidInput as error:
            if event.dataset not in state.world.producers:
                state.log_line("… refused: removed by a deploy meanwhile")
                return
            if isinstance(error, InvalidPartition):  # a deploy has changed the bounds since
                state.log_line(f"… refused: {error}")
                return
            if not isinstance(error, UnknownName):
                raise
            (output,) = state.world.producers[event.dataset].outputs
            if {*output.columns}.issuperset(event.columns or ()):
                raise
            state.log_line("… refused: a deploy has removed a column")
            await self._request(rng, msgspec.structs.replace(event, columns=None))
            return
        state.record_events(requested.invalidations, [event])

    async def _requested(self, rng: Random, event: SourceEvent) -> Requested:
        state = self.state
        try:
            return await state.do(
                "request", lambda conn: invalidate(conn, state.org_context(rng), event), rng
            )
        except Crash:
            return await state.do(
                "request", lambda conn: invalidate(conn, state.org_context(rng), event)
            )

    def publish_all(self) -> None:
        """Publish all remaining events."""
        while self.unpublished:
            event = self.unpublished.pop(0)
            self.stream.append(event)
            self.state.log_line(f"publish {event_text(event)}", "event")
