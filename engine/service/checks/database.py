"""Checks of the database: version, clock, notifications, schema, roles."""

from datetime import UTC, datetime, timedelta

from psycopg import sql

from engine.errors import OutdatedCode
from engine.service.checks.check import Check, Checks, CheckVerdict, judge
from engine.store.addresses import display_url
from engine.store.compatibility import missing_migrations, require_supported_code
from engine.store.database import Connection, Database
from engine.store.roles import missing_roles, render
from engine.store.rows.roles import DeployedJobs
from engine.store.rows.views import ServerState
from engine.store.run import fetch
from engine.wording import counted

_OLDEST = 15
_CHANNEL = "knockon_doctor"
_NOTIFY_SECONDS = 3.0
_SKEW = timedelta(seconds=2)


async def check_database(database: Database) -> Checks:
    """Check version, clock, notifications, schema and roles. Raises psycopg's errors."""
    async with database.connection() as conn:
        before = datetime.now(UTC)
        (server,) = await fetch(conn, "views.server", ServerState)
        yield _version(database, server)
        yield _clock(server.now, before)
        yield _queue(server)
        yield await _notifies(database, conn)
        schema = await _schema(conn)
        yield schema
        if schema.verdict == CheckVerdict.OK:
            yield await _roles(conn)


def _version(database: Database, server: ServerState) -> Check:
    version = str(server.version)
    return judge(
        "database",
        int(version.split(".")[0].split()[0]) >= _OLDEST,
        f"PostgreSQL {version} at {display_url(database.url)}{_pooler(database)}",
        f"upgrade it: Knockon needs PostgreSQL {_OLDEST} or newer",
        CheckVerdict.FAIL,
    )


def _pooler(database: Database) -> str:
    return f", directly at {display_url(database.direct_url)}" if database.has_pooler else ""


def _clock(server: datetime, before: datetime) -> Check:
    after = datetime.now(UTC)
    skew = max(before - server, server - after, timedelta())
    return judge(
        "clock",
        skew < _SKEW,
        f"{skew.total_seconds():.1f} s from the database's",
        "set the clocks of both machines by NTP: leases use the database's clock",
    )


def _queue(server: ServerState) -> Check:
    used = float(server.notification_queue)
    return judge(
        "notifications",
        used < 0.1,
        f"{used:.0%} of the NOTIFY queue is used",
        "end the listening session with the old transaction: see pg_stat_activity",
    )


async def _notifies(database: Database, conn: Connection) -> Check:
    listener = await database.listen_connection()
    try:
        await listener.execute(sql.SQL("LISTEN {}").format(sql.Identifier(_CHANNEL)))
        await conn.execute("SELECT pg_notify(%s, '')", [_CHANNEL])
        notifications = listener.notifies(timeout=_NOTIFY_SECONDS, stop_after=1)
        received = [notification async for notification in notifications]
    finally:
        await listener.close()
    return judge(
        "LISTEN",
        bool(received),
        "a NOTIFY was received" if received else "no NOTIFY was received",
        "set KNOCKON_DIRECT_URL to the address without the pooler; until then loops poll",
    )


async def _schema(conn: Connection) -> Check:
    try:
        await require_supported_code(conn)
    except OutdatedCode as error:
        return Check("schema", CheckVerdict.FAIL, str(error), "install a newer version of Knockon")
    missing = await missing_migrations(conn)
    detail = f"lacks {', '.join(missing)}" if missing else "up to date"
    return judge("schema", not missing, detail, "run 'knockon migrate'", CheckVerdict.FAIL)


async def _roles(conn: Connection) -> Check:
    """Check the roles; if some are missing, deployed SQL jobs of any org fail."""
    missing = await missing_roles(conn)
    if not missing:
        return Check("roles", CheckVerdict.OK, "owner, engine, service, capture and orgs")
    (sql_jobs,) = await fetch(conn, "roles.sql_jobs", DeployedJobs)
    return Check(
        "roles",
        CheckVerdict.FAIL if sql_jobs.jobs else CheckVerdict.WARN,
        f"missing, so that SQL jobs cannot run ({counted(sql_jobs.jobs, 'SQL job')} deployed)",
        "run 'knockon migrate' as a superuser, or execute as a superuser in this database:",
        list(render(missing, conn)),
    )
