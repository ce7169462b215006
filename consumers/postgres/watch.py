"""Monitoring of a source: availability, lag of its readers, and usage of the NOTIFY queue."""

from time import monotonic
from typing import Any

import structlog
from psycopg import AsyncConnection

from consumers.postgres.connection import TimeLimit
from consumers.postgres.readers import State, state
from engine.monitor.metrics import CHANGE_LOG_ROWS, CHANGE_LOG_SECONDS, SOURCE_QUEUE_USAGE

_log = structlog.get_logger(__name__)
_WARNING_USAGE = 0.1


class Watch:
    """Checks the source every ``seconds``."""

    def __init__(self, source: AsyncConnection[Any], seconds: float, time_limit: TimeLimit) -> None:
        self._source = source
        self._seconds = seconds
        self._time_limit = time_limit
        self._checked_at = float("-inf")
        self._has_warned = False

    async def check_if_due(self) -> State | None:
        """Check the source if due. Raises OperationalError if it does not respond in time."""
        if monotonic() - self._checked_at < self._seconds:
            return None
        with self._time_limit():
            current = await state(self._source)
        self._checked_at = monotonic()
        _set_metrics(current)
        self._warn(current.queue_usage)
        return current

    def _warn(self, queue_usage: float) -> None:
        """Log a warning, once each time the queue fills."""
        if queue_usage > _WARNING_USAGE and not self._has_warned:
            _log.warning(
                "the source's NOTIFY queue is filling up: end the session that listens within an "
                "old transaction (see pg_stat_activity); above 50 % changes wait for the next poll",
                used=f"{queue_usage:.0%}",
            )
        self._has_warned = queue_usage > _WARNING_USAGE


def _set_metrics(current: State) -> None:
    SOURCE_QUEUE_USAGE.set(current.queue_usage)
    CHANGE_LOG_ROWS.clear()  # drops readers that have been forgotten
    CHANGE_LOG_SECONDS.clear()
    for reader in current.readers:
        CHANGE_LOG_ROWS.labels(reader.name).set(reader.rows)
        CHANGE_LOG_SECONDS.labels(reader.name).set(reader.seconds)
