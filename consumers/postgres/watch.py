"""A watch over the source: is it still there, who is behind, and how full is its NOTIFY queue?"""

from time import monotonic
from typing import Any

import structlog
from psycopg import AsyncConnection

from consumers.postgres.connection import Guard
from consumers.postgres.readers import State, state
from engine.monitor.metrics import CHANGE_LOG_ROWS, CHANGE_LOG_SECONDS, SOURCE_QUEUE_USAGE

_log = structlog.get_logger(__name__)
_FULL = 0.1


class Watch:
    """Looks every ``seconds``."""

    def __init__(self, source: AsyncConnection[Any], seconds: float, answering: Guard) -> None:
        self._source = source
        self._seconds = seconds
        self._answering = answering
        self._looked_at = float("-inf")
        self._has_warned = False

    async def look(self) -> State | None:
        """Look, if it is time. Raises OperationalError if the source does not answer in time."""
        if monotonic() - self._looked_at < self._seconds:
            return None
        with self._answering():
            found = await state(self._source)
        self._looked_at = monotonic()
        _tell(found)
        self._warn(found.queue_usage)
        return found

    def _warn(self, queue_usage: float) -> None:
        """Once each time that the queue has filled."""
        if queue_usage > _FULL and not self._has_warned:
            _log.warning(
                "the source's NOTIFY queue fills: end the session that listens within an old "
                "transaction (see pg_stat_activity); beyond 50 % changes wait for the next poll",
                used=f"{queue_usage:.0%}",
            )
        self._has_warned = queue_usage > _FULL


def _tell(found: State) -> None:
    SOURCE_QUEUE_USAGE.set(found.queue_usage)
    CHANGE_LOG_ROWS.clear()  # who was forgotten is not behind any more
    CHANGE_LOG_SECONDS.clear()
    for reader in found.readers:
        CHANGE_LOG_ROWS.labels(reader.name).set(reader.rows)
        CHANGE_LOG_SECONDS.labels(reader.name).set(reader.seconds)
