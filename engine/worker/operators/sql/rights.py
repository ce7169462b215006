"""The rights that an org's role needs on the tables of a job, before its SQL runs."""

from collections.abc import Iterable, Mapping
from uuid import UUID

import psycopg

from engine.errors import TaskFailed
from engine.model.dataset import Dataset
from engine.model.task import Lease
from engine.store.database import Connection
from engine.store.grants import Grant, grant
from engine.store.roles import role_of
from engine.store.run import execute, fetch, fetch_one
from engine.worker.operators.sql.tables import Table, physical_name


async def check_rights(
    conn: Connection, org_id: UUID, lease: Lease, tables: Mapping[tuple[str, str], Table]
) -> None:
    """Raise TaskFailed for a table that the org's jobs may not use as this job does.

    An org that is given the tables of its DAG files is granted the missing rights here.
    """
    org = await fetch_one(conn, "roles.rights", org_id=org_id)
    role = None if org is None else await role_of(conn, org["slug"])
    if org is None or role is None:
        raise TaskFailed(
            "the org has no database role for its SQL jobs: run the statements that "
            "'knockon doctor' prints, as a user with the right to create roles"
        )
    needed = [*_reads(lease), *_writes(lease.outputs, tables)]
    if lacking := await _lacking(conn, role, needed):
        _refuse_reserved(lacking)
        if not org["is_given_named_tables"]:
            raise TaskFailed(_refusal(org["slug"], lacking))
        # Two transactions cannot change the rights to one table at the same time.
        await execute(conn, "roles.lock")
        await _give(conn, role, needed, lease)


async def _give(conn: Connection, role: str, needed: Iterable[Grant], lease: Lease) -> None:
    try:
        async with conn.transaction():
            for each in await _lacking(conn, role, needed):
                await grant(conn, role, each)
    except psycopg.errors.InsufficientPrivilege as error:
        raise TaskFailed(
            f"job {lease.job.name!r} lacks rights that Knockon's own user cannot grant "
            f"({error.diag.message_primary}): have the owner of the table run 'knockon grant'"
        ) from error


def _refuse_reserved(lacking: Iterable[Grant]) -> None:
    """Raise TaskFailed for a right to a table of Knockon or of the server."""
    for each in lacking:
        if each.is_reserved:
            raise TaskFailed(f"{each} belongs to Knockon or PostgreSQL: no job is given it")


async def _lacking(conn: Connection, role: str, needed: Iterable[Grant]) -> list[Grant]:
    wanted = {each.quoted(conn): each for each in needed}
    rows = await fetch(
        conn,
        "roles.lacking",
        role=role,
        names=list(wanted),
        accesses=[each.access for each in wanted.values()],
    )
    return [wanted[row["name"]] for row in rows]


def _reads(lease: Lease) -> Iterable[Grant]:
    for dataset in lease.inputs.values():
        yield Grant("read", *physical_name(dataset))


def _writes(outputs: Iterable[Dataset], tables: Mapping[tuple[str, str], Table]) -> Iterable[Grant]:
    for dataset in outputs:
        schema, name = physical_name(dataset)
        if dataset.storage.get("adopt") is not True:
            yield Grant("create", schema)
        if (schema, name) in tables:
            yield Grant("write", schema, name)


def _refusal(org: str, lacking: Iterable[Grant]) -> str:
    commands = "; ".join(f"knockon grant {org} {each} {each.access}" for each in lacking)
    return f"the SQL jobs of org {org!r} lack rights: {commands}"
