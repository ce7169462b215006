"""Orgs: everything that is read or written belongs to one."""

from typing import Any, Literal
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from engine.errors import UnknownName
from engine.store.database import Connection
from engine.store.roles import create_org_role
from engine.store.run import execute, fetch_one


class OrgSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an org has decided for itself.

    ``blast_radius``: most partitions that one plan may make without approval; null: any number.
    ``grants``: the tables that the org's SQL jobs may use; those that ``dag_files`` name, or null:
    those that an operator granted.
    """

    blast_radius: int | None = None
    grants: Literal["dag_files"] | None = None


async def org_id(conn: Connection, slug: str) -> UUID:
    """Return the id of the org with this slug. Raises UnknownName."""
    row = await fetch_one(conn, "orgs.by_slug", slug=slug)
    if row is None:
        raise UnknownName(f"there is no org {slug!r}: deploy to it first, or name another")
    return UUID(str(row["id"]))


async def ensure_org(conn: Connection, slug: str) -> UUID:
    """Return the id of the org with this slug, made if it is new, with the role of its jobs."""
    await execute(conn, "orgs.create", slug=slug)
    await create_org_role(conn, slug)
    return await org_id(conn, slug)


async def lineage_epoch(conn: Connection, org: UUID) -> int:
    """Return the number that moves with every deploy of the org."""
    row = await fetch_one(conn, "orgs.epoch", org_id=org)
    if row is None:
        raise UnknownName(f"there is no org with id {org}: it was deleted meanwhile")
    return int(row["lineage_epoch"])


async def lock_planning(conn: Connection, org: UUID) -> None:
    """Wait until no other planner or deploy is at work in the org; held to the end."""
    await execute(conn, "orgs.lock_planning", org_id=str(org))


async def lock_planning_session(conn: Connection, org: UUID) -> None:
    """Lock as `lock_planning` does, until `unlock_planning_session` or the end of the session."""
    await execute(conn, "orgs.lock_planning_session", org_id=str(org))


async def unlock_planning_session(conn: Connection, org: UUID) -> None:
    """Release what `lock_planning_session` has locked."""
    await execute(conn, "orgs.unlock_planning_session", org_id=str(org))


async def settings(conn: Connection, org: UUID) -> OrgSettings:
    """Return what the org has set."""
    row = await fetch_one(conn, "orgs.settings", org_id=org) or {"settings": {}}
    return msgspec.convert(row["settings"], OrgSettings)


async def set_setting(conn: Connection, org: UUID, setting: str, value: Any) -> None:
    """Set one of the org's settings; None is stored too, so that no default replaces it."""
    await execute(conn, "orgs.set", org_id=org, setting=setting, value=Jsonb(value))
