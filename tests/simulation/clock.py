"""Simulated clock, replacing the clock of the database as the engine's source of time."""

from __future__ import annotations

from datetime import datetime, timedelta

from engine.store.database import Connection, Database
from tests.support import clock
from tests.support.clock import SEARCH_PATH

_MAKE = b"""
CREATE SCHEMA IF NOT EXISTS simulated;
CREATE OR REPLACE FUNCTION simulated.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
$$ SELECT pg_catalog.clock_timestamp() + current_setting('simulated.skew')::interval $$
"""
_SET = f"""
SELECT set_config('simulated.skew', %(skew)s, false), set_config('lock_timeout', '5ms', false),
       set_config('search_path', '{SEARCH_PATH}', false),
       set_config('plan_cache_mode', 'force_generic_plan', false)
""".encode()


async def make_clock(database: Database) -> None:
    """Shadow the clocks in sessions whose search path begins with ``simulated``."""
    async with database.connection() as conn:
        await conn.execute(_MAKE)
        await clock.make_clock(conn)


async def set_moment(database: Database, moment: datetime | None) -> None:
    """Set the time by which partitions come into being; None: the real time."""
    async with database.connection() as conn:
        await clock.set_now(conn, moment)


async def set_clock(conn: Connection, skew: timedelta) -> None:
    """Set a session's clock skew and a short lock timeout.

    All steps run in a single process, so a session holding a lock cannot proceed while another
    waits.
    """
    if getattr(conn, "skew", None) != skew:
        await conn.execute(_SET, {"skew": f"{skew.total_seconds()} s"})
        conn.skew = skew  # type: ignore[attr-defined]
