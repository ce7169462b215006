"""The database roles of Knockon, and the statements to create them and grant their privileges.

Roles belong to the whole cluster, so their names contain the name of the database. Each step is a
list of statements, empty if nothing is missing: `create_roles` runs the list, and `missing_roles`
returns it for another user if the connection's user lacks the right.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import LiteralString
from uuid import UUID

import psycopg
import structlog
from psycopg import sql

from engine.errors import InvalidInput
from engine.store.database import Connection
from engine.store.migration_steps import limit_lock_waits
from engine.store.queries import load_queries, sql_dir
from engine.store.rows.roles import (
    DatabaseNames,
    ExistingRole,
    ForeignPolicy,
    Function,
    MarkedTable,
    Membership,
    OrgRole,
    Relation,
    UngrantedRelation,
    UnprotectedTable,
)
from engine.store.run import execute, fetch, fetch_one

_log = structlog.get_logger(__name__)
_LONGEST_NAME = 63
_KINDS = ("owner", "engine", "service", "capture")
Statements = list[sql.Composed]


@dataclass(frozen=True, slots=True)
class _Names:
    """The roles of a database, and the user of Knockon's connections (``member``)."""

    database: str
    current: str
    member: str
    owner: str
    engine: str
    service: str
    capture: str

    @staticmethod
    def of(database: str, current: str, member: str) -> "_Names":
        return _Names(database, current, member, *(role_name(kind, database) for kind in _KINDS))


def role_name(kind: str, database: str, org: str | None = None) -> str:
    """Return the name of a role: `knockon_engine_shop`, or `knockon_jobs_shop/default` for an org.

    A name that is too long or ambiguous ends with a hash instead.
    """
    whole = database if org is None else f"{database}/{org}"
    name = f"knockon_{kind}_{whole}"
    if len(name.encode()) <= _LONGEST_NAME and "/" not in database:
        return name
    return f"knockon_{kind}_{sha256(whole.encode()).hexdigest()[:16]}"


def run_function(org_id: UUID) -> sql.Identifier:
    """Return the function that runs SQL with the privileges of an org."""
    return sql.Identifier("knockon", f"run_as_{org_id.hex}")


async def role_of(conn: Connection, slug: str) -> str | None:
    """Return the role of an org's SQL jobs; None if it is missing or was altered."""
    row = await fetch_one(conn, "roles.orgs", OrgRole, slug=slug)
    return None if row is None else row.role


async def service_role(conn: Connection) -> str | None:
    """Return the role of the service; None if it is missing, or the user is not a member."""
    names = await _names(conn)
    row = await fetch_one(conn, "roles.membership", Membership, role=names.service)
    return names.service if row is not None else None


async def create_roles(conn: Connection) -> None:
    """Create missing roles of the database, including those of its orgs.

    If the connection's user lacks the right, the roles stay missing: `missing_roles` reports them.
    Raises LockNotAvailable instead of blocking others behind a lock that it waits for.
    """
    await _attempt(conn, None, with_shared=True)


async def create_org_role(conn: Connection, slug: str) -> None:
    """Create the role of one org if missing, and transfer ownership of the org's tables to it."""
    await _attempt(conn, slug, with_shared=False)


async def missing_roles(conn: Connection) -> Statements:
    """Return the statements to be run by a user with sufficient rights; empty if none is missing.

    Raises InvalidInput for an existing role that other users could use.
    """
    return [*await _shared_roles(conn), *await _org_roles(conn, None)]


async def _attempt(conn: Connection, slug: str | None, *, with_shared: bool) -> None:
    try:
        async with conn.transaction():
            await execute(conn, "roles.lock")
            if with_shared:
                await limit_lock_waits(conn)
                await _run(conn, await _shared_roles(conn))
            await _run(conn, await _org_roles(conn, slug))
    except psycopg.errors.InsufficientPrivilege as error:
        _log.warning(
            "roles are missing: 'knockon doctor' prints the statements that create them",
            why=error.diag.message_primary,
        )


async def _run(conn: Connection, statements: Statements) -> None:
    for statement in statements:
        await conn.execute(statement)


async def _shared_roles(conn: Connection) -> Statements:
    names = await _names(conn)
    missing = await _missing(conn, [getattr(names, kind) for kind in _KINDS])
    statements: Statements = []
    for kind in _KINDS:
        role = getattr(names, kind)
        if role in missing:
            statements += [_statement(kind, role=role), _join(names, role)]
    return [
        *statements,
        *await _ownership(conn, names, is_new=names.owner in missing),
        *await _privileges(conn, names),
        *await _policies(conn, names),
    ]


async def _ownership(conn: Connection, names: _Names, *, is_new: bool) -> Statements:
    """Return statements that transfer objects not owned by the owner role yet."""
    owner = None if is_new else names.owner
    relations = await fetch(conn, "roles.relations", Relation, owner=owner)
    functions = await fetch(conn, "roles.functions", Function, owner=owner)
    if not (relations or functions):
        return []
    to = {"owner": names.owner}
    return [
        _statement("own_schema", **to),
        *(_statement("own_relation", relation=("knockon", r.name), **to) for r in relations),
        *(_own_function(row.signature, names.owner) for row in functions),
    ]


async def _privileges(conn: Connection, names: _Names) -> Statements:
    """Return statements that grant privileges which the engine or the service lacks."""
    roles = {"engine": names.engine, "service": names.service}
    rows = await fetch(conn, "roles.ungranted", UngrantedRelation, **roles)
    lacked = [row for row in rows if row.lacks_service]
    statements: Statements = []
    if any(row.lacks_engine for row in rows):
        statements.append(_statement("engine_rights", engine=names.engine))
    if lacked:
        statements.append(_statement("service_schema", service=names.service))
        statements.append(_statement("temporary", database=names.current, role=names.service))
    return statements + [
        _statement(row.statement, relation=("knockon", row.name), service=names.service)
        for row in lacked
    ]


async def _policies(conn: Connection, names: _Names) -> Statements:
    """Return statements that restrict tables with data of orgs by row-level security."""
    dropped = [
        _statement("drop_policy", relation=("knockon", row.table), policy=row.name)
        for row in await fetch(conn, "roles.foreign_policies", ForeignPolicy)
    ]
    return dropped + [
        _statement("protect_month", relation=("knockon", row.name))
        if row.is_month
        else _statement(
            "protect", relation=("knockon", row.name), column=row.column, engine=names.engine
        )
        for row in await fetch(conn, "roles.unprotected", UnprotectedTable, engine=names.engine)
    ]


async def _org_roles(conn: Connection, slug: str | None) -> Statements:
    names = await _names(conn)
    orgs = await fetch(conn, "roles.orgs", OrgRole, slug=slug)
    role_names = {row.slug: role_name("jobs", names.database, row.slug) for row in orgs}
    missing = await _missing(conn, list(role_names.values()))
    statements: Statements = []
    for row in orgs:
        role = row.role or role_names[row.slug]
        if row.role is None:
            statements += _org_role(row.id, role, names, is_new=role in missing)
        statements += [
            _statement("own_relation", relation=(table.schema, table.name), owner=role)
            for table in await fetch(
                conn, "roles.marked", MarkedTable, org_id=row.id, role=role, engine=names.engine
            )
        ]
    return statements


def _org_role(org_id: UUID, role: str, names: _Names, *, is_new: bool) -> Statements:
    function = ("knockon", f"run_as_{org_id.hex}")
    statements = [_statement("jobs", role=role), _join(names, role)] if is_new else []
    return [
        *statements,
        _statement("temporary", database=names.current, role=role),
        _statement("run_function", function=function),
        _statement("run_right", function=function, engine=names.engine),
        _statement("own_run_function", function=function, role=role),
    ]


def _join(names: _Names, role: str) -> sql.Composed:
    return _statement("join", role=role, member=names.member)


async def _names(conn: Connection) -> _Names:
    (row,) = await fetch(conn, "roles.database", DatabaseNames)
    return _Names.of(row.name, row.current, row.member)


async def _missing(conn: Connection, names: Sequence[str]) -> set[str]:
    """Return the names of missing roles. Raises InvalidInput for a role other users could use."""
    existing = await fetch(conn, "roles.existing", ExistingRole, names=list(names))
    for row in existing:
        if not row.is_plain:
            raise InvalidInput(
                f"role {row.name} exists and can log in, has attributes that Knockon would not "
                "give it, or is a member of another role: rename it, or take these away"
            )
    return set(names) - {row.name for row in existing}


def _statement(name: str, **names: str | tuple[str, str]) -> sql.Composed:
    identifiers = {
        field: sql.Identifier(*((name,) if isinstance(name, str) else name))
        for field, name in names.items()
    }
    return sql.SQL(_template(name)).format(**identifiers)


def _own_function(signature: LiteralString, owner: str) -> sql.Composed:
    text = sql.SQL(_template("own_function"))
    function = sql.SQL(signature)  # quoted by the catalog
    return text.format(function=function, owner=sql.Identifier(owner))


def _template(name: str) -> LiteralString:
    return _templates()[f"statements.{name}"]


@cache
def _templates() -> Mapping[str, LiteralString]:
    return load_queries(sql_dir() / "roles")


def render(statements: Statements, conn: Connection) -> Iterator[str]:
    """Render the statements as text for psql."""
    for statement in statements:
        _, _, text = statement.as_string(conn).partition("*/ ")
        yield f"{text};"
