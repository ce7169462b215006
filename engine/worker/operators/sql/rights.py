"""Rights of an org's role on the tables of a job, checked before the job's SQL runs."""

from collections.abc import Iterable, Mapping
from uuid import UUID

import psycopg

from engine.errors import TaskFailed
from engine.model.dataset import Dataset
from engine.model.task import Lease
from engine.store.database import Connection
from engine.store.grants import Grant, grant
from engine.store.roles import role_of
from engine.store.rows.roles import LackingRight, OrgRights
from engine.store.run import execute, fetch, fetch_one
from engine.worker.operators.sql.tables import Table, physical_name


async def check_rights(
    conn: Connection, org_id: UUID, lease: Lease, tables: Mapping[tuple[str, str], Table]
) -> None:
    """Raise TaskFailed if the org's role lacks a right that the job needs.

    Missing rights are granted first if the org is entitled to all tables named in its DAG files.
    """
    org = await fetch_one(conn, "roles.rights", OrgRights, org_id=org_id)
    role = None if org is None else await role_of(conn, org.slug)
    if org is None or role is None:
        raise TaskFailed(
            "the org has no database role for its SQL jobs: run the statements that "
            "'knockon doctor' prints, as a user with the right to create roles"
        )
    reads = [Grant("read", *physical_name(dataset)) for dataset in lease.inputs.values()]
    needed = [*reads, *_writes(lease.outputs, tables)]
    if lacking := await _lacking(conn, role, needed):
        for missing in lacking:
            if missing.is_reserved:
                raise TaskFailed(
                    f"{missing} belongs to Knockon or PostgreSQL: no job can be granted access"
                )
        if not org.is_given_named_tables:
            raise TaskFailed(_refusal(org.slug, lacking))
        # Concurrent GRANTs on one table fail in PostgreSQL.
        await execute(conn, "roles.lock")
        await _grant_lacking(conn, role, needed, lease)


async def _grant_lacking(
    conn: Connection, role: str, needed: Iterable[Grant], lease: Lease
) -> None:
    try:
        async with conn.transaction():
            for missing in await _lacking(conn, role, needed):
                await grant(conn, role, missing)
    except psycopg.errors.InsufficientPrivilege as error:
        raise TaskFailed(
            f"job {lease.job.name!r} lacks rights that Knockon's user cannot grant "
            f"({error.diag.message_primary}): run 'knockon grant' as the owner of the table"
        ) from error


async def _lacking(conn: Connection, role: str, needed: Iterable[Grant]) -> list[Grant]:
    wanted = {right.quoted(conn): right for right in needed}
    rows = await fetch(
        conn,
        "roles.lacking",
        LackingRight,
        role=role,
        names=list(wanted),
        accesses=[right.access for right in wanted.values()],
    )
    return [wanted[row.name] for row in rows]


def _writes(outputs: Iterable[Dataset], tables: Mapping[tuple[str, str], Table]) -> Iterable[Grant]:
    for dataset in outputs:
        schema, name = physical_name(dataset)
        if dataset.storage.get("adopt") is not True:
            yield Grant("create", schema)
        if (schema, name) in tables:
            yield Grant("write", schema, name)


def _refusal(org: str, lacking: Iterable[Grant]) -> str:
    commands = "; ".join(f"knockon grant {org} {right} {right.access}" for right in lacking)
    return f"the SQL jobs of org {org!r} lack rights: run {commands}"
