"""The use of the quotas of an org, counted within limits."""

from typing import Final

import msgspec

from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.service import Service
from engine.store.orgs import running_tasks, settings, stored_log_bytes, unfinished_tasks

_COUNTED: Final = 100_000


class Usage(msgspec.Struct, frozen=True):
    """Numbers that an org uses of its quotas.

    Tasks are counted up to 100,000 in each state, or to the quota if that is larger. ``log_bytes``
    is the size of logs in the history.
    """

    unfinished_tasks: int
    running_tasks: int
    log_bytes: int
    jobs: int


@requires(Role.ADMIN)
async def usage(caller: Caller, service: Service) -> Usage:
    """Return what the org uses of its quotas."""
    async with service.snapshot(caller) as (conn, org):
        quotas = await settings(conn, org.id)
        most = max(_COUNTED, quotas.unfinished_tasks or 0, quotas.running_tasks or 0)
        return Usage(
            unfinished_tasks=await unfinished_tasks(conn, org.id, most),
            running_tasks=await running_tasks(conn, org.id, most),
            log_bytes=await stored_log_bytes(conn, org.id),
            jobs=len((await org.lineage(conn)).order),
        )
