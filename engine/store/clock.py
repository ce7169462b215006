"""The clock of the database."""

from datetime import datetime

from engine.store.database import Connection
from engine.store.rows.clock import CurrentTime
from engine.store.run import fetch


async def load_now(conn: Connection) -> datetime:
    """Return the current time."""
    (row,) = await fetch(conn, "clock.now", CurrentTime)
    return row.now
