"""A clock that stands still, in place of the database's, for partitions that come into being."""

from datetime import datetime

from engine.store.database import Connection

_MAKE = b"""
CREATE SCHEMA IF NOT EXISTS simulated;
CREATE TABLE IF NOT EXISTS simulated.moment (now timestamptz NOT NULL);
CREATE OR REPLACE FUNCTION simulated.statement_timestamp() RETURNS timestamptz
LANGUAGE sql STABLE AS
$$ SELECT coalesce((SELECT max(now) FROM simulated.moment), pg_catalog.statement_timestamp()) $$
"""
SEARCH_PATH = "simulated, pg_catalog, public, knockon"
"""The search path of sessions with the simulated clock."""


async def make_clock(conn: Connection) -> None:
    """Shadow ``statement_timestamp()`` in sessions with the search path."""
    await conn.execute(_MAKE)


async def set_now(conn: Connection, now: datetime | None) -> None:
    """Stop the clock at a time, for all sessions; None: let it run."""
    await conn.execute(b"TRUNCATE simulated.moment")
    if now is not None:
        await conn.execute(b"INSERT INTO simulated.moment VALUES (%(now)s)", {"now": now})
