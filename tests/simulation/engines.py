"""Engine processes running at once (ingest, plan, reap), and the passing of time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from random import Random
from uuid import UUID

import msgspec

from engine.errors import PositionLost
from engine.flow.execution.reap import reap
from engine.flow.ingestion.ingest import Ingested, ingest
from engine.flow.planning.plan import plan
from engine.flow.planning.set_aside import replay
from engine.flow.shared.org_context import OrgContext
from engine.model.event import Advance, Batch, Delivery, Received, SourceEvent
from tests.simulation.crashes import AnswerLost
from tests.simulation.invariants import PLANNER_CRASHED
from tests.simulation.stage import ENGINES, Stage
from tests.simulation.upstream import Upstream

_POSITION = "SELECT position FROM consumer_positions WHERE org_id = %(org)s AND stream = 's'"
_GIVEN_UP = f"""
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
STEPS = [timedelta(seconds=n) for n in (-86_400, -600, -1, 1, 45, 3_600)]


class Engines:
    """Engine processes; ``owners`` are the positions at which stream owners expect to continue."""

    def __init__(self, stage: Stage, upstream: Upstream) -> None:
        self.stage = stage
        self.upstream = upstream
        self._taken: set[int] = set()
        self.owners: list[str | None] = [None] * ENGINES

    async def ingest(self, dice: Random) -> None:
        owner = dice.randrange(ENGINES)
        before = self.owners[owner]
        start = int(before or 0)
        events = self.upstream.stream[start : start + dice.randint(1, 4)]
        if not events:
            return
        end = start + len(events)
        self.stage.log_line(f"ingest {start}..{end} by owner {owner}")
        org = self.stage.org_contexts[owner]
        try:
            await self._ingest(org, before, events, dice)
        except PositionLost:
            self.stage.log_line("… position lost", "overtaken owner of a stream")
            self.owners[owner] = await self._stored_position()
        else:
            self.owners[owner] = str(end)

    async def _ingest(
        self,
        org: OrgContext,
        before: str | None,
        events: Sequence[SourceEvent],
        dice: Random | None,
    ) -> None:
        start = int(before or 0)
        batch = _batch(before, start, events)
        try:
            done = await self.stage.do("ingest", lambda conn: ingest(conn, org, batch), dice)
        except AnswerLost as lost:
            self._remember(lost.answer, start, events)
            raise
        self._remember(done, start, events)

    def _remember(self, done: Ingested, start: int, events: Sequence[SourceEvent]) -> None:
        """Record new events: an event ingested twice may not cause work twice."""
        places = {start + n: event for n, event in enumerate(events)}
        passed_over = self._taken | self.upstream.unusable
        new = [event for place, event in places.items() if place not in passed_over]
        self._taken |= places.keys()
        self.stage.remember(done.invalidations, new)

    async def _stored_position(self) -> str | None:
        rows = await self.stage.rows(_POSITION)
        return rows[0]["position"] if rows else None

    async def plan(self, dice: Random) -> None:
        limit = dice.choice([1, 2, 1_000])
        self.stage.log_line(f"plan {limit}")
        org = self.stage.org_context(dice)
        planned = await self.stage.do("plan", lambda conn: plan(conn, org, limit), dice)
        if planned is not None:
            self.stage.log_line(f"… {planned.tasks} tasks", "plans")

    async def expire(self, dice: Random) -> None:
        """Expire a lease, possibly while its worker is still running."""
        rows = await self.stage.rows(_RUNNING)
        if rows:
            await self._expire([dice.choice(rows)["id"]])
            await self._reap(dice)

    async def _reap(self, dice: Random | None) -> None:
        org = self.stage.org_context(dice)
        reaped = await self.stage.do("reap", lambda conn: reap(conn, org), dice)
        self.stage.log_line(f"reap {reaped}")
        self.stage.counts["lost leases"] += reaped

    async def _expire(self, ids: Sequence[UUID]) -> None:
        await self.stage.rows(_EXPIRE, ids=ids)

    async def tick(self, dice: Random) -> None:
        """Let time pass: delayed retries become due."""
        await self.stage.rows(_TICK)

    async def clock(self, dice: Random) -> None:
        """Shift the clock, which shortens or extends leases."""
        step = dice.choice(STEPS)
        self.stage.skew += step
        forward = step > timedelta()
        self.stage.log_line(
            f"the clock jumps by {step}", f"clock jumps {'ahead' if forward else 'back'}"
        )
        await self._reap(dice)

    # -- calm completion of all work -----------------------------------------------------------

    async def ingest_all(self) -> bool:
        stored = await self._stored_position()
        start, end = int(stored or 0), len(self.upstream.stream)
        if start == end:
            return False
        self.stage.log_line(f"ingest {start}..{end}")
        await self._ingest(self.stage.org_context(), stored, self.upstream.stream[start:], None)
        self.owners[0] = str(end)
        return True

    async def plan_all(self) -> bool:
        moved = False
        while await self.stage.do("plan", lambda conn: plan(conn, self.stage.org_context())):
            self.stage.log_line("plan", "plans")
            await self.stage.note_invalidations()
            moved = True
        return await self._replay_given_up() or moved

    async def _replay_given_up(self) -> bool:
        """Replay invalidations set aside after planner crashes."""
        ids = [row["id"] for row in await self.stage.rows(_GIVEN_UP)]
        org = self.stage.org_context()
        if ids and await self.stage.do("replay", lambda conn: replay(conn, org, ids)):
            self.stage.log_line("replay what planners crashed on", "set aside after crashes")
            return True
        return False

    async def reap_expired(self) -> None:
        """Reap all running tasks, since no worker is active, and make delayed retries due."""
        rows = await self.stage.rows(_RUNNING)
        if rows:
            await self._expire([row["id"] for row in rows])
            await self._reap(None)
        await self.stage.rows(_TICK)


def _batch(before: str | None, start: int, events: Sequence[SourceEvent]) -> Batch:
    return Batch(
        consumer="c",
        received=tuple(
            Received.one(event, Delivery("s", str(start + n), msgspec.json.encode(event)))
            for n, event in enumerate(events)
        ),
        advances=(Advance(stream="s", before=before, after=str(start + len(events))),),
    )
