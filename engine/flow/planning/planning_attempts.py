"""Count attempts to plan a batch before they begin, and shrink batches that are never finished.

A planner killed midway, or disconnected because planning takes too long, leaves no error behind.
The count is committed before planning begins, so that later attempts can isolate the culprit: each
further attempt halves the batch, and an invalidation still unfinished when planned alone is set
aside.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

import psycopg

from engine.errors import TooCostlyToPlan
from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection
from engine.store.orgs import lock_planning_session, unlock_planning_session
from engine.store.rows.planning_attempts import NextBatch
from engine.store.run import execute, fetch_one

MOST_ATTEMPTS = 3
"""Limit of unfinished attempts at a full batch, and again at a single invalidation."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to plan up to ``batch_limit`` open invalidations, starting with ``oldest``.

    ``number`` counts the attempts at this batch. ``suspects_to`` is the last invalidation of the
    most recent unfinished batch; batches stay small up to that point.
    """

    oldest: UUID
    suspects_to: UUID
    batch_limit: int
    number: int = 1

    @property
    def is_exhausted(self) -> bool:
        """Return True if all allowed attempts at a single invalidation were left unfinished."""
        return self.batch_limit == 1 and self.number > MOST_ATTEMPTS


def next_attempt(batch: NextBatch, limit: int) -> Attempt:
    """Return the attempt at a batch after those already counted."""
    oldest = batch.oldest
    if oldest > batch.suspects_to:
        return Attempt(oldest, batch.newest, limit)
    previous = min(batch.batch_limit, limit)
    if oldest != batch.tried:
        return Attempt(oldest, batch.suspects_to, previous)
    number = batch.attempts + 1
    if number == 1 or previous == 1 or (previous == limit and number <= MOST_ATTEMPTS):
        return Attempt(oldest, batch.suspects_to, previous, number)
    return Attempt(oldest, batch.tried_to, max(1, min(previous, batch.size) // 2))


@asynccontextmanager
async def attempting(
    conn: Connection, org: OrgContext, limit: int
) -> AsyncIterator[Attempt | None]:
    """Count an attempt and hold the planning lock for it; yield None if no invalidation is open."""
    async with _locked(conn, org):
        batch = await fetch_one(
            conn, "planning_attempts.next_batch", NextBatch, org_id=org.id, limit=limit
        )
        if batch is None:
            yield None
            return
        attempt = next_attempt(batch, limit)
        await execute(
            conn,
            "planning_attempts.begin",
            org_id=org.id,
            oldest=attempt.oldest,
            suspects_to=attempt.suspects_to,
            batch_limit=attempt.batch_limit,
            attempts=attempt.number,
        )
        try:
            yield attempt
        except MemoryError:
            raise
        except Exception:
            # An error ends the attempt; after a lost connection the attempt stays counted.
            with suppress(psycopg.Error):
                await execute(conn, "planning_attempts.discount", org_id=org.id)
            raise


def too_costly(attempt: Attempt) -> TooCostlyToPlan:
    """Return the reason to set aside the invalidation of an exhausted attempt."""
    return TooCostlyToPlan(
        f"{attempt.number - 1} attempts to plan it alone were interrupted: the planner was killed, "
        "for example for lack of memory, or lost its connection after more than ten minutes. Give "
        "the planner more memory or raise partitions_per_task of the jobs, then replay it; or "
        "invalidate fewer partitions at once"
    )


@asynccontextmanager
async def _locked(conn: Connection, org: OrgContext) -> AsyncIterator[None]:
    """Hold the planning lock across several transactions."""
    await lock_planning_session(conn, org.id)
    try:
        yield
        await unlock_planning_session(conn, org.id)
    except Exception:
        with suppress(psycopg.OperationalError):  # a lost connection holds no lock
            await unlock_planning_session(conn, org.id)
        raise
    except BaseException:
        await conn.close()
        raise
