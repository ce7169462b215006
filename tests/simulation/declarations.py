"""Declarations: once the engine has planned an event, its scope counts as changed.

The engine's rows determine only the time of planning. The scope comes from the published event, so
invalidations widened or narrowed by the engine are measured against the history.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from typing import Any
from uuid import UUID

import msgspec

from engine.model.event import SourceEvent
from tests.simulation.dimensions import Key, read_text, universe
from tests.simulation.fingerprints import Described, is_contradictory
from tests.simulation.ledger import Changed, Declared
from tests.simulation.rows import groups, may_hold
from tests.simulation.state import SimulationState
from tests.simulation.world import GROUP, Columns, Job, Values

_PLANNED = """
SELECT i.id, d.name, i.partition_key, i.columns, i.row_filter, i.reason, i.outcome,
       i.processed_at IS NOT NULL AS is_processed
FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid
WHERE i.org_id = %(org)s AND i.plan_id IS NOT NULL AND i.id = ANY(%(open)s)
ORDER BY i.id
"""
_FOUND = """
SELECT i.id, d.name, i.partition_key, i.outcome = 'rejected' AS is_rejected
FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid
WHERE i.org_id = %(org)s AND i.reason = 'found' AND i.plan_id IS NOT NULL
  AND NOT i.id = ANY(CASE WHEN i.outcome = 'rejected' THEN %(rejected)s::uuid[]
                          ELSE %(seen)s::uuid[] END)
"""

_APPEARED = """
SELECT i.id, d.name, i.partition_key
FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid
WHERE i.org_id = %(org)s AND i.reason = 'appeared' AND i.outcome = 'rejected'
  AND NOT i.id = ANY(%(rejected)s::uuid[])
"""


class Declarations:
    """Record planned events in the ledger, and the announced partitions of sources."""

    def __init__(self, state: SimulationState) -> None:
        self.state = state
        self.rejected: defaultdict[str, set[Key]] = defaultdict(set)
        self._recorded_writes = 0
        self._pending: set[UUID] = set()
        self._processed: set[UUID] = set()
        self._found: set[UUID] = set()
        self._found_rejected: set[UUID] = set()
        self._described = Described()

    async def record(self) -> None:
        """Declare the events planned or pending approval since the last call."""
        if self.state.writes == self._recorded_writes:
            return
        self._recorded_writes = self.state.writes
        known = {name: set(keys) for name, keys in self.state.announced.items()}
        unprocessed = [id_ for id_ in self.state.batches if id_ not in self._processed]
        for row in await self.state.rows(_PLANNED, open=unprocessed):
            done = self._processed if row["is_processed"] else self._pending
            producer = self.state.world.producers.get(row["name"])
            if row["id"] not in done and producer is not None:
                self._record(producer, row, known.get(row["name"], set()))
            done.add(row["id"])
        seen = {"seen": [*self._found], "rejected": [*self._found_rejected]}
        for row in await self.state.rows(_FOUND, **seen):
            if row["id"] not in self._found:
                self._found.add(row["id"])
                self._declare_found(row)
            if row["is_rejected"]:
                self._found_rejected.add(row["id"])
                self._reject_found(row)
        if self.state.moment is not None:
            await self._record_unbuilt()

    async def _record_unbuilt(self) -> None:
        """Leave partitions unbuilt by decision that have come into being as time passed."""
        for row in await self.state.rows(_APPEARED, rejected=[*self._found_rejected]):
            self._found_rejected.add(row["id"])
            producer = self.state.world.producers.get(row["name"])
            if producer is not None:
                keys = read_text(producer.space, row["partition_key"])
                self.state.decisions.leave(producer, keys, self.state.now)

    def _declare_found(self, row: dict[str, Any]) -> None:
        """Declare a real change announced by a run, possibly after its readers have run."""
        producer, ledger = self.state.world.producers.get(row["name"]), self.state.ledger
        if producer is None:
            return
        changes = ledger.changed[row["name"]]
        for key in read_text(producer.space, row["partition_key"] if producer.space else "*"):
            latest = next((change for change in reversed(changes) if change.key == key), None)
            if latest is not None:
                # The engine announces changed columns, never rows.
                ledger.declared[row["name"]].append(Declared(self.state.now, key, latest.columns))
                changes.append(replace(latest, time=self.state.now))

    def _reject_found(self, row: dict[str, Any]) -> None:
        """Leave the readers of a change announced by a run stale by decision."""
        producer = self.state.world.producers.get(row["name"])
        if producer is not None:
            keys = read_text(producer.space, row["partition_key"] if producer.space else "*")
            self._leave_readers(row["name"], keys, None)

    def _record(self, producer: Job, row: dict[str, Any], known: set[Key]) -> None:
        events = _causing_events(row, producer, self.state.batches[row["id"]])
        # An event ingested before a deploy does not cover partitions added by the deploy.
        within = read_text(producer.space, row["partition_key"] if producer.space else "*")
        unchanged = self._unchanged(producer, row, events, within)
        if row["outcome"] == "rejected":
            for event in events:
                self._reject(producer, event, within)
            return
        named = within & {key for event in events for key in _registered(producer, event, known)}
        new = named - known
        for event in events:
            self._declare(producer, event, known, new=new, unchanged=unchanged)
        if row["partition_key"] == "*" and self.state.counts["deploy: bounds changed"]:
            # All partitions within the bounds at the ingestion are all within those of now.
            whole = msgspec.structs.replace(events[0], partitions=None)
            self._declare(producer, whole, known, new=new)
        if row["is_processed"]:
            self.state.announced[producer.outputs[0].name] |= named if producer.is_source else set()

    def _unchanged(
        self, producer: Job, row: dict[str, Any], events: Sequence[SourceEvent], within: Set[Key]
    ) -> set[Key]:
        """Return the partitions of an invalidation that its events describe as they are."""
        if not producer.is_fingerprinted:
            return set()
        dataset = producer.outputs[0].name
        batch = [event for event in self.state.batches[row["id"]] if event.dataset == dataset]
        is_reviewed = not row["is_processed"] or row["id"] in self._pending
        if (
            is_reviewed
            or row["outcome"] == "rejected"
            or row["partition_key"] is None
            or is_contradictory(producer, [(event, _named(producer, event)) for event in batch])
        ):
            self._described.forget(dataset)
            return set()
        named = [(event, _named(producer, event) & within) for event in events]
        unchanged = self._described.unchanged(producer, self.state.versions[dataset], named)
        self.state.counts["partition described as it is"] += len(unchanged)
        return unchanged

    def _declare(
        self,
        producer: Job,
        event: SourceEvent,
        known: Set[Key],
        *,
        new: Set[Key],
        unchanged: Set[Key] = frozenset(),
    ) -> None:
        """Declare an event, with all columns and rows of new partitions changed.

        ``new`` are those of an event about a whole dataset. ``unchanged`` partitions are described
        as they are.
        """
        name, ledger, now = event.dataset, self.state.ledger, self.state.now

        def columns_of(key: Key | None) -> Columns:
            is_of_new = bool(new) if key is None or None in keys else key not in known
            return None if event.columns is None or is_of_new else frozenset(event.columns)

        def groups_of(key: Key | None) -> Values:
            return _groups(event) if key is None or key in known else None

        keys = [key for key in _affected_keys(producer, event) if key not in unchanged]
        invalidations = [Declared(now, key, columns_of(key), groups_of(key)) for key in keys]
        if None in keys:
            invalidations += [Declared(now, key, None) for key in new]
        if not producer.is_source and event.reason != "rewritten":
            ledger.wrong[name] += invalidations
            named = None if None in keys else [key for key in keys if key is not None]
            if named is None or producer.is_single_run:
                # Partitions left by a decision before their first run are part of the request.
                left = self.state.decisions.excused(producer)
                for output in producer.outputs:
                    self.state.retained[output.name] |= left
            self.state.decisions.rebuild_requested(producer, named)
            return
        ledger.declared[name] += invalidations
        all_keys = universe(producer.space) if None in keys else keys
        ledger.changed[name] += [
            Changed(now, key, columns_of(key)) for key in all_keys if key is not None
        ]
        if not producer.is_source:
            existing = {*self.state.warehouse[name, self.state.versions[name]]}
            rewritten = existing if None in keys else {key for key in keys if key is not None}
            ledger.rewritten[name] |= rewritten
            self.state.unannounced[name] -= rewritten
            self.state.decisions.unverified[name] |= rewritten

    def _reject(self, producer: Job, event: SourceEvent, within: Set[Key]) -> None:
        """Leave stale the partitions a rejected plan would have recomputed directly.

        A plan of some of an event's partitions leaves only those ``within`` the plan.
        """
        keys = [key for key in _affected_keys(producer, event) if key is None or key in within]
        if producer.is_source or event.reason == "rewritten":
            if producer.is_source and (event.partitions is not None or not producer.space):
                self.rejected[event.dataset] |= {key for key in keys if key is not None}
            self._leave_readers(event.dataset, keys, groups(event.rows))
        else:
            named = {key for key in keys if key is not None}
            left = {*universe(producer.space)} if None in keys else named
            self.state.decisions.leave(producer, left, self.state.now)
            self._leave_edits(producer, left)

    def _leave_edits(self, producer: Job, left: set[Key]) -> None:
        """Excuse readers of edited rows, since no run or event will rebuild or report them."""
        for output in producer.outputs:
            edited = self.state.edited[output.name] & left
            self.state.partial_writes[output.name] |= edited

    def _leave_readers(self, dataset: str, keys: Iterable[Key | None], of: Values) -> None:
        """Leave stale the readers of these partitions, for rows in some groups."""
        world, state = self.state.world, self.state
        declared = [Declared(state.now, key, None, of) for key in keys]
        for job in world.readers(dataset):
            reached = state.ledger.reached(world, job, dataset, declared)
            state.decisions.leave(job, reached, state.now)


def _causing_events(
    row: dict[str, Any], producer: Job, events: Sequence[SourceEvent]
) -> Sequence[SourceEvent]:
    """Return the events that caused an invalidation; all events of its dataset if none matches."""
    concerned = [event for event in events if event.dataset == row["name"]]
    return [event for event in concerned if _matches(row, producer, event)] or concerned


def _matches(row: dict[str, Any], producer: Job, event: SourceEvent) -> bool:
    columns = None if event.columns is None else sorted(event.columns)
    is_alike = [row["columns"] and sorted(row["columns"]), row["row_filter"]] == [
        columns,
        event.rows,
    ]
    is_wide = row["columns"] is None and row["row_filter"] is None
    if row["reason"] != event.reason or not (is_alike or is_wide):
        return False
    if not producer.space:
        return True
    if row["partition_key"] is None or event.partitions is None:
        return row["partition_key"] is None and event.partitions is None
    return not read_text(producer.space, row["partition_key"]).isdisjoint(_named(producer, event))


def _named(producer: Job, event: SourceEvent) -> set[Key]:
    """Return the partitions named by an event; empty if the whole dataset is meant.

    A row filter on a partition column also names partitions, possibly new.
    """
    if not producer.space:
        return {()}
    if event.partitions is None and _rows_name_keys(producer, event):
        return {
            key for key in universe(producer.space) if may_hold(producer.space, key, event.rows)
        }
    return set().union(*(read_text(producer.space, text) for text in event.partitions or ()))


def _rows_name_keys(producer: Job, event: SourceEvent) -> bool:
    """Return whether an event's row filter has a condition on a partition column."""
    return any(dimension.name in (event.rows or ()) for dimension in producer.space)


def _registered(producer: Job, event: SourceEvent, known: Set[Key]) -> set[Key]:
    """Return the named partitions that exist once an event about a source is planned.

    An event of rows names, in a dimension without finite bounds that it leaves open, only the keys
    of ``known`` partitions.
    """
    named = _named(producer, event)
    if event.rows is None or not producer.is_source:
        return named
    registered = {key for key in named if may_hold(producer.space, key, event.rows)}
    unbounded = [
        n for n, d in enumerate(producer.space) if not d.is_finite and d.name not in event.rows
    ]
    if event.partitions is not None or not unbounded:
        return registered
    found = {tuple(key[n] for n in unbounded) for key in known}
    return {key for key in registered if tuple(key[n] for n in unbounded) in found}


def _groups(event: SourceEvent) -> Values:
    """Return the groups of an event's rows; None: any.

    A condition on a changed column is dropped, since it may not hold for the previous value.
    """
    return None if GROUP in (event.columns or ()) else groups(event.rows)


def _affected_keys(producer: Job, event: SourceEvent) -> Sequence[Key | None]:
    """Return the partitions possibly containing changed rows; None stands for all existing ones.

    If no partition is named, the rows of an unbounded dataset may be beyond the simulator's grid.
    """
    named: Iterable[Key] = _named(producer, event)
    if event.partitions is None and producer.space:
        is_finite = all(dimension.is_finite for dimension in producer.space)
        if event.rows is None or not (is_finite or _rows_name_keys(producer, event)):
            return [None]
        named = universe(producer.space)
    if event.rows is None:
        return sorted(named)
    return sorted(key for key in named if may_hold(producer.space, key, event.rows))


__all__ = ["Columns", "Declarations"]
