"""Engine processes running at once (ingest, plan, reap), and the passing of time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import msgspec

from engine.errors import PositionLost
from engine.flow.execution.reap import reap
from engine.flow.ingestion.ingest import Ingested, ingest
from engine.flow.ingestion.schedules import fire_due
from engine.flow.planning.appear import appear
from engine.flow.planning.plan import Planned, plan
from engine.flow.planning.set_aside import replay
from engine.flow.retention.archive import archive
from engine.flow.shared.org_context import OrgContext
from engine.model.event import Advance, Batch, Delivery, Received, SourceEvent
from engine.model.states import PauseKind
from engine.store.database import Connection
from tests.simulation.being import boundaries
from tests.simulation.clock import set_clock, set_moment
from tests.simulation.crashes import ResponseLost
from tests.simulation.dimensions import Key, read_text, text
from tests.simulation.events import event_text
from tests.simulation.invariants import PLANNER_CRASHED, Broken
from tests.simulation.schedules import covered, has_schedule
from tests.simulation.state import ENGINES, SimulationState
from tests.simulation.upstream import Upstream
from tests.simulation.world import Job

_POSITION = "SELECT position FROM consumer_positions WHERE org_id = %(org)s AND stream = 's'"
_SET_ASIDE = f"""
SELECT id FROM data_invalidations
WHERE org_id = %(org)s AND planning_error LIKE '{PLANNER_CRASHED}'
"""
_RUNNING = "SELECT id FROM tasks WHERE org_id = %(org)s AND status = 'running' ORDER BY id"
_EXPIRE = """
UPDATE tasks SET lease_expires_at = '2000-01-01'
WHERE org_id = %(org)s AND id = ANY(%(ids)s) AND status = 'running' RETURNING id
"""
_TICK = """
UPDATE tasks SET next_retry_at = NULL WHERE org_id = %(org)s AND next_retry_at IS NOT NULL
RETURNING id
"""
_PLANNED = """
SELECT d.name FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid
WHERE i.plan_id = %(plan)s
"""
_SCHEDULED = """
SELECT c.name, coalesce(
    (SELECT p.position::timestamptz FROM consumer_positions p
     WHERE p.org_id = %(org)s AND p.consumer = 'schedule' AND p.stream = 'schedule/' || c.name),
    %(first)s) AS since
FROM current_datasets c WHERE c.org_id = %(org)s
"""
_BEGIN = """
UPDATE consumer_positions SET position = %(position)s
WHERE org_id = %(org)s AND consumer = 'schedule' RETURNING position
"""
_FIRED = """
SELECT i.id, i.partition_key FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid
WHERE i.org_id = %(org)s AND d.name = %(name)s AND i.reason = 'schedule'
  AND i.processed_at IS NULL AND NOT i.id = ANY(%(recorded)s::uuid[])
"""
STEPS = [timedelta(seconds=n) for n in (-86_400, -600, -1, 1, 45, 3_600)]


class Engines:
    """Engine processes; ``owners`` are the positions at which stream owners expect to continue."""

    def __init__(self, state: SimulationState, upstream: Upstream) -> None:
        self.state = state
        self.upstream = upstream
        self._ingested: set[int] = set()
        self.owners: list[str | None] = [None] * ENGINES

    async def ingest(self, rng: Random) -> None:
        owner = rng.randrange(ENGINES)
        before = self.owners[owner]
        start = int(before or 0)
        events = self.upstream.stream[start : start + rng.randint(1, 4)]
        if not events:
            return
        end = start + len(events)
        self.state.log_line(f"ingest {start}..{end} by owner {owner}")
        org = self.state.org_contexts[owner]
        try:
            await self._ingest(org, before, events, rng)
        except PositionLost:
            self.state.log_line("… position lost", "outdated stream position")
            self.owners[owner] = await self._stored_position()
        else:
            self.owners[owner] = str(end)

    async def _ingest(
        self,
        org: OrgContext,
        before: str | None,
        events: Sequence[SourceEvent],
        rng: Random | None,
    ) -> None:
        start = int(before or 0)
        batch = _batch(before, start, events)
        try:
            ingested = await self.state.do("ingest", lambda conn: ingest(conn, org, batch), rng)
        except ResponseLost as lost:
            self._record_events(lost.response, start, events)
            raise
        self._record_events(ingested, start, events)

    def _record_events(self, ingested: Ingested, start: int, events: Sequence[SourceEvent]) -> None:
        """Record new events; an event ingested twice must not cause work twice."""
        positions = {start + n: event for n, event in enumerate(events)}
        ignored = self._ingested | self.upstream.unusable
        new = [event for position, event in positions.items() if position not in ignored]
        self._ingested |= positions.keys()
        self.state.record_events(ingested.invalidations, new)

    async def _stored_position(self) -> str | None:
        rows = await self.state.rows(_POSITION)
        return rows[0]["position"] if rows else None

    async def plan(self, rng: Random) -> None:
        limit = rng.choice([1, 2, 1_000])
        self.state.log_line(f"plan {limit}")
        org = self.state.org_context(rng)
        planned = await self.state.do("plan", lambda conn: plan(conn, org, limit), rng)
        if planned is not None:
            self.state.log_line(f"… {planned.tasks} tasks", "plans")
            await self._check_paused(planned)

    async def _check_paused(self, planned: Planned) -> None:
        """Check that no invalidation of a paused dataset was planned."""
        names = {row["name"] for row in await self.state.rows(_PLANNED, plan=planned.plan_id)}
        is_paused = (PauseKind.ORG, "") in self.state.paused
        paused = {
            name for name in names if is_paused or (PauseKind.DATASET, name) in self.state.paused
        }
        if paused:
            raise Broken("invalidations of paused datasets are not planned", sorted(paused))

    async def pass_time(self, rng: Random) -> None:
        """Let time pass until the next windows begin or end."""
        if self.state.moment is None:
            return
        later = [time for time in boundaries(self.state.world) if time > self.state.moment]
        times = later[: rng.choice([1, 1, 2])] or [self.state.moment + timedelta(days=1)]
        await self.set_moment(times[-1] + timedelta(minutes=rng.choice([0, 0, 30])))

    async def set_moment(self, moment: datetime) -> None:
        """Set the time by which partitions come into being."""
        await self.state.record_possible()
        self.state.moment = moment
        await set_moment(self.state.database, moment)
        self.state.log_line(f"it is {moment}", "time passes")
        await self.state.record_possible()

    async def begin(self, rng: Random | None) -> None:
        """Invalidate the partitions that have come into being."""
        await self._begin(rng)

    async def fire_all(self) -> bool:
        return await self._fire(None)

    async def begin_all(self) -> bool:
        return self.state.moment is not None and await self._begin(None)

    async def _begin(self, rng: Random | None) -> bool:
        org = self.state.org_context(rng)
        appeared = await self.state.do("appear", lambda conn: appear(conn, org), rng)
        if appeared:
            self.state.log_line(f"{appeared} partitions appear", "partitions appear")
        return appeared > 0

    async def fire(self, rng: Random | None) -> None:
        """Ingest the times of schedules that have passed."""
        await self._fire(rng)

    async def _fire(self, rng: Random | None) -> bool:
        """Fire schedules; check that exactly the windows they cover count as changed."""
        moment, world = self.state.moment, self.state.world
        if moment is None or not has_schedule(world):
            return False
        since = {row["name"]: row["since"] for row in await self._scheduled()}
        org = self.state.org_context(rng)
        await self.state.do("fire", lambda conn: self._fire_due(conn, org))
        fired = False
        for job in world.sources:
            (output,) = job.outputs
            if job.covers is not None and output.name in since:
                fired |= await self._record_fired(job, covered(job, since[output.name], moment))
        return fired

    async def _fire_due(self, conn: Connection, org: OrgContext) -> None:
        """Fire schedules by a clock that shows the moment."""
        assert self.state.moment is not None
        await set_clock(conn, self.state.moment - datetime.now(UTC))
        await fire_due(conn, org)
        await set_clock(conn, self.state.skew)

    async def start_schedules(self) -> None:
        """Have the schedules of the first deploy begin at the first moment."""
        if self.state.moment is not None and has_schedule(self.state.world):
            await self.state.rows(_BEGIN, position=self.state.moment.isoformat())

    async def _scheduled(self) -> list[dict[str, Any]]:
        """Return the times since which schedules have not fired."""
        return await self.state.rows(_SCHEDULED, first=self.state.first_moment)

    async def _record_fired(self, job: Job, expected: set[Key]) -> bool:
        dataset = job.outputs[0].name
        rows = await self.state.rows(_FIRED, name=dataset, recorded=[*self.state.batches])
        found = {key for row in rows for key in read_text(job.space, row["partition_key"])}
        if found != expected:
            raise Broken("a schedule covers its windows", (dataset, sorted(found ^ expected)))
        if not rows:
            return False
        partitions = tuple(text(job.space, key) for key in sorted(expected))
        event = SourceEvent(dataset=dataset, partitions=partitions, reason="schedule")
        self.state.log_line(f"fire {event_text(event)}", "schedule fired")
        self.upstream.named_by_events[dataset] |= expected
        self.state.record_events([row["id"] for row in rows], [event])
        return True

    async def expire(self, rng: Random) -> None:
        """Expire a lease, possibly while its worker is still running."""
        rows = await self.state.rows(_RUNNING)
        if rows:
            await self._expire([rng.choice(rows)["id"]])
            await self._reap(rng)

    async def _reap(self, rng: Random | None) -> None:
        org = self.state.org_context(rng)
        reaped = await self.state.do("reap", lambda conn: reap(conn, org), rng)
        self.state.log_line(f"reap {reaped}")
        self.state.counts["expired leases"] += reaped
        async with self.state.connection() as conn:
            self.state.counts["archived tasks"] += await archive(conn, org, 0)

    async def _expire(self, ids: Sequence[UUID]) -> None:
        await self.state.rows(_EXPIRE, ids=ids)

    async def tick(self, rng: Random) -> None:
        """Let time pass: delayed retries become due."""
        await self.state.rows(_TICK)

    async def clock(self, rng: Random) -> None:
        """Shift the clock, which shortens or extends leases."""
        step = rng.choice(STEPS)
        self.state.skew += step
        forward = step > timedelta()
        self.state.log_line(
            f"clock jumps by {step}", f"clock jumps {'ahead' if forward else 'back'}"
        )
        await self._reap(rng)

    # -- completion of all work -----------------------------------------------------------

    async def ingest_all(self) -> bool:
        stored = await self._stored_position()
        start, end = int(stored or 0), len(self.upstream.stream)
        if start == end:
            return False
        self.state.log_line(f"ingest {start}..{end}")
        await self._ingest(self.state.org_context(), stored, self.upstream.stream[start:], None)
        self.owners[0] = str(end)
        return True

    async def plan_all(self) -> bool:
        planned = False
        while await self.state.do("plan", lambda conn: plan(conn, self.state.org_context())):
            self.state.log_line("plan", "plans")
            await self.state.record_planned_events()
            planned = True
        return await self._replay_set_aside() or planned

    async def _replay_set_aside(self) -> bool:
        """Replay invalidations set aside after planner crashes."""
        ids = [row["id"] for row in await self.state.rows(_SET_ASIDE)]
        org = self.state.org_context()
        if ids and await self.state.do("replay", lambda conn: replay(conn, org, ids)):
            self.state.log_line(
                "replay invalidations set aside after crashes",
                "invalidation set aside after crashes",
            )
            return True
        return False

    async def reap_expired(self) -> None:
        """Reap all running tasks, since no worker is active, and make delayed retries due."""
        rows = await self.state.rows(_RUNNING)
        if rows:
            await self._expire([row["id"] for row in rows])
            await self._reap(None)
        await self.state.rows(_TICK)


def _batch(before: str | None, start: int, events: Sequence[SourceEvent]) -> Batch:
    return Batch(
        consumer="c",
        received=tuple(
            Received.one(event, Delivery("s", str(start + n), msgspec.json.encode(event)))
            for n, event in enumerate(events)
        ),
        advances=(Advance(stream="s", before=before, after=str(start + len(events))),),
    )
