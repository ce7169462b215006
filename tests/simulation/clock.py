"""Simulated clock, replacing the clock of the database as the engine's source of time."""

from __future__ import annotations

from datetime import timedelta

from engine.store.database import Connection, Database

_MAKE = b"""
CREATE SCHEMA IF NOT EXISTS simulated;
CREATE OR REPLACE FUNCTION simulated.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
$$ SELECT pg_catalog.clock_timestamp() + current_setting('simulated.skew')::interval $$
"""
_SET = b"""
SELECT set_config('simulated.skew', %(skew)s, false), set_config('lock_timeout', '5ms', false),
       set_config('search_path', 'simulated, pg_catalog, public, knockon', false),
       set_config('plan_cache_mode', 'force_generic_plan', false)
"""


async def make_clock(database: Database) -> None:
    """Shadow ``clock_timestamp()`` in sessions whose search path begins with ``simulated``."""
    async with database.connection() as conn:
        await conn.execute(_MAKE)


async def set_clock(conn: Connection, skew: timedelta) -> None:
    """Set a session's clock skew and a short lock timeout.

    All steps run in a single process, so a session holding a lock cannot proceed while another
    waits.
    """
    if getattr(conn, "skew", None) != skew:
        await conn.execute(_SET, {"skew": f"{skew.total_seconds()} s"})
        conn.skew = skew  # type: ignore[attr-defined]
