"""The feed of events of an org."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from engine.errors import PositionExpired
from engine.flow.shared.org_context import OrgContext
from engine.model.states import EventKind, Role
from engine.service.caller import Caller, requires
from engine.service.keyset import NEWEST_NUMBER
from engine.service.service import Service
from engine.service.streams import is_among, visible_streams
from engine.service.visibility import Visibility, visible_plans
from engine.store.database import Connection
from engine.store.rows.events import ExpiredEvents, FeedEvent, NewestPosition
from engine.store.run import fetch, fetch_one

__all__ = ["FeedEvent", "events", "newest_position"]


@requires(Role.READER)
async def events(
    caller: Caller,
    service: Service,
    *,
    after: int | None = None,
    kinds: Sequence[EventKind] | None = None,
    limit: int = 100,
) -> list[FeedEvent]:
    """List events by position: the first after a position (0: the beginning), or the newest.

    A reader that continues after the position of the last event read misses and repeats nothing.
    Raises PositionExpired if events after the position were removed after their retention period.
    """
    async with service.snapshot(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        feed = _Feed(conn, org, visible, None if kinds is None else list(kinds))
        if after is None:
            return await feed.newest(limit)
        expired = await fetch_one(conn, "events.expired_to", ExpiredEvents, org_id=org.id)
        if expired is not None and 0 < after < expired.position:
            raise PositionExpired(
                f"the events up to position {expired.position}, some of them after {after}, were "
                f"removed after their retention period: read the current state of what you follow, "
                f"such as tasks and plans, and continue after {expired.position}"
            )
        return await feed.after(after, limit)


@requires(Role.READER)
async def newest_position(caller: Caller, service: Service) -> int:
    """Return the position of the newest event; 0 without events."""
    async with service.snapshot(caller) as (conn, org):
        row = await fetch_one(conn, "events.newest_position", NewestPosition, org_id=org.id)
    return 0 if row is None else row.position


@dataclass(frozen=True, slots=True)
class _Feed:
    """The visible events of an org, in pages that are filled up with later or earlier ones."""

    conn: Connection
    org: OrgContext
    visible: Visibility
    kinds: list[EventKind] | None

    async def after(self, position: int, limit: int) -> list[FeedEvent]:
        events: list[FeedEvent] = []
        while len(events) < limit:
            rows = await fetch(
                self.conn, "events.after", FeedEvent, after=position, limit=limit, **self._params
            )
            events += await self._shown(rows)
            if len(rows) < limit:
                break
            position = rows[-1].position
        return events[:limit]

    async def newest(self, limit: int) -> list[FeedEvent]:
        events: list[FeedEvent] = []
        before = NEWEST_NUMBER
        while len(events) < limit:
            rows = await fetch(
                self.conn, "events.newest", FeedEvent, before=before, limit=limit, **self._params
            )
            events += await self._shown(rows)
            if len(rows) < limit:
                break
            before = rows[-1].position
        return events[:limit][::-1]

    @property
    def _params(self) -> dict[str, Any]:
        return {"org_id": self.org.id, "kinds": self.kinds}

    async def _shown(self, rows: list[FeedEvent]) -> list[FeedEvent]:
        if self.visible.is_full:
            return rows
        of_plans = [row for row in rows if row.kind.startswith("plan.")]
        shown = await visible_plans(
            self.conn, self.org, self.visible, of_plans, attrgetter("subject_id")
        )
        streams = await visible_streams(self.conn, self.org, self.visible)
        positions = {row.position for row in shown}
        return [
            row
            for row in rows
            if (row.position in positions or not row.kind.startswith("plan."))
            and self._is_visible(row, streams)
        ]

    def _is_visible(self, row: FeedEvent, streams: list[str] | None) -> bool:
        visible, detail = self.visible, row.detail
        if row.kind == EventKind.DEAD_LETTER_RECORDED:
            return is_among(str(detail.get("stream")), streams)
        is_job_hidden = f"{row.dag_name}.{row.job_name}" in visible.job_names
        is_unknown_task = row.kind.startswith("task.") and row.job_name is None
        is_dag_hidden = detail.get("dag") in visible.dags
        return not (is_job_hidden or is_unknown_task or is_dag_hidden) and visible.sees(
            row.subject_id
        )
