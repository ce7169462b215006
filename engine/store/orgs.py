"""Orgs, the tenants that own all data."""

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from engine.errors import InvalidInput, UnknownName
from engine.model.admission import Admission
from engine.model.presence import ALL_ORGS
from engine.store.database import Connection
from engine.store.roles import create_org_role
from engine.store.rows.orgs import LineageEpoch, OrgRow, StoredLogs, StoredSettings, TaskCount
from engine.store.run import execute, fetch, fetch_one


class Quotas(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of an org, set by operators; null: none.

    ``unfinished_tasks``: planning waits while the org has as many. ``running_tasks``: further tasks
    stay queued. ``events_per_second``: further events are refused or read later.
    ``partitions_per_plan``: larger plans do not run. ``log_bytes``: older logs are dropped.
    ``jobs``: a deploy with more is refused.
    """

    unfinished_tasks: int | None = None
    running_tasks: int | None = None
    events_per_second: int | None = None
    partitions_per_plan: int | None = None
    log_bytes: int | None = None
    jobs: int | None = None


class OrgSettings(Quotas, frozen=True, kw_only=True):
    """Settings of an org.

    ``blast_radius``: the maximum number of partitions that one plan may build without approval;
    null: any number. ``grants``: the tables available to the org's SQL jobs: ``dag_files`` means
    tables named in DAG files, null means tables granted by an operator. ``trusted``: members of the
    org may deploy what reaches beyond it, see `engine.service.tenant_deploys`. ``four_eyes``: no
    user approves a plan of their own. The others are quotas.
    """

    blast_radius: int | None = None
    grants: Literal["dag_files"] | None = None
    trusted: bool = False
    four_eyes: bool = False


async def org_id(conn: Connection, slug: str) -> UUID:
    """Return the id of the org with this slug. Raises UnknownName."""
    row = await fetch_one(conn, "orgs.by_slug", OrgRow, slug=slug)
    if row is None:
        raise UnknownName(f"there is no org {slug!r}: deploy to it first, or name another")
    return row.id


async def ensure_org(conn: Connection, slug: str) -> UUID:
    """Return the id of the org with this slug, creating the org and the role of its jobs if new.

    Raises InvalidInput for a reserved slug.
    """
    if slug == ALL_ORGS:
        raise InvalidInput(f"an org cannot have the name {slug!r}, which means all orgs")
    await execute(conn, "orgs.create", slug=slug)
    await create_org_role(conn, slug)
    return await org_id(conn, slug)


async def lineage_epoch(conn: Connection, org: UUID) -> int:
    """Return the number that every deploy of the org increases."""
    row = await fetch_one(conn, "orgs.epoch", LineageEpoch, org_id=org)
    if row is None:
        raise UnknownName(f"there is no org with id {org}: it was deleted meanwhile")
    return row.lineage_epoch


async def lock_planning(conn: Connection, org: UUID) -> None:
    """Acquire the planning lock of the org, until the end of the transaction.

    The lock excludes other planners and deploys.
    """
    await execute(conn, "orgs.lock_planning", org_id=str(org))


async def lock_planning_session(conn: Connection, org: UUID) -> None:
    """Lock as `lock_planning` does, until `unlock_planning_session` or the end of the session."""
    await execute(conn, "orgs.lock_planning_session", org_id=str(org))


async def unlock_planning_session(conn: Connection, org: UUID) -> None:
    """Release the lock of `lock_planning_session`."""
    await execute(conn, "orgs.unlock_planning_session", org_id=str(org))


async def settings(conn: Connection, org: UUID) -> OrgSettings:
    """Return the settings of the org."""
    row = await fetch_one(conn, "orgs.settings", StoredSettings, org_id=org)
    return msgspec.convert({} if row is None else row.settings, OrgSettings)


async def admission(conn: Connection, org: UUID) -> Admission | None:
    """Return who is admitted to the org through the identity provider; None: nobody."""
    row = await fetch_one(conn, "orgs.settings", StoredSettings, org_id=org)
    return msgspec.convert(None if row is None else row.settings.get("admission"), Admission | None)


async def running_tasks(conn: Connection, org: UUID, most: int) -> int:
    """Count the running tasks of an org, up to ``most``."""
    return await _count(conn, org, ("running",), most)


async def unfinished_tasks(conn: Connection, org: UUID, most: int) -> int:
    """Count the unfinished tasks of an org, up to ``most``."""
    return await _count(conn, org, ("blocked", "queued", "running", "failed"), most)


async def has_active_tasks(conn: Connection, org: UUID) -> bool:
    """Return whether a task of the org is queued or running."""
    return await _count(conn, org, ("queued", "running"), 1) > 0


async def stored_log_bytes(conn: Connection, org: UUID) -> int:
    """Return the size of the org's logs in the history."""
    (row,) = await fetch(conn, "orgs.stored_log_bytes", StoredLogs, org_id=org)
    return row.bytes


async def _count(conn: Connection, org: UUID, statuses: Sequence[str], most: int) -> int:
    rows = await fetch(
        conn, "orgs.count_tasks", TaskCount, org_id=org, statuses=list(statuses), most=most
    )
    return sum(row.tasks for row in rows)


async def set_setting(conn: Connection, org: UUID, setting: str, value: Any) -> None:
    """Set one of the org's settings; None is stored too, so that no default replaces it."""
    await execute(conn, "orgs.set", org_id=org, setting=setting, value=Jsonb(value))
