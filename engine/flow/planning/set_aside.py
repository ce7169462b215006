"""Set aside invalidations that cannot be planned, so that the others are not blocked."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import structlog

from engine.errors import InvalidInput, KnockonError
from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection
from engine.store.failures import is_due_to_data, reason_of
from engine.store.notifications import INVALIDATIONS, notify
from engine.store.rows.invalidations import InvalidationId, LockedInvalidation
from engine.store.run import execute, fetch

_MAX_ERROR_CHARACTERS = 2_000

_log = structlog.get_logger(__name__)


async def set_aside(conn: Connection, row: LockedInvalidation, error: Exception) -> None:
    """Keep a locked invalidation open, and record the reason why it cannot be planned."""
    why = reason_of(error)[:_MAX_ERROR_CHARACTERS]
    await execute(conn, "invalidations.set_aside", id=row.id, error=why)
    _log.error(
        "invalidation set aside",
        invalidation=str(row.id),
        dataset=str(row.dataset_uuid),
        partitions=row.partition_key,
        why=why,
    )


async def replay(
    conn: Connection,
    org: OrgContext,
    ids: Sequence[UUID] | None,
    *,
    whole: bool = False,
    hidden: Sequence[UUID] | None = None,
) -> list[UUID]:
    """Retry planning of invalidations that were set aside, and return their ids.

    ``ids`` None selects all of the org's. ``whole`` widens each invalidation to all existing
    partitions of its dataset. Invalidations of ``hidden`` datasets are left out.
    """
    wanted = None if ids is None else list(ids)
    async with conn.transaction():
        rows = await fetch(
            conn,
            "invalidations.replay",
            InvalidationId,
            org_id=org.id,
            ids=wanted,
            whole=whole,
            hidden=None if hidden is None else list(hidden),
        )
        if rows:
            await notify(conn, INVALIDATIONS, org.id)
    return [row.id for row in rows]


@contextmanager
def planning(what: str) -> Iterator[None]:
    """Turn an error caused by the data being planned into InvalidInput; others pass through."""
    try:
        yield
    except KnockonError:
        raise
    except Exception as error:
        if not is_due_to_data(error):
            raise
        raise InvalidInput(
            f"{what} cannot be planned: {reason_of(error)}; nothing was written"
        ) from error
