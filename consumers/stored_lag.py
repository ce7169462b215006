"""The lag of this process's consumers, stored with their positions.

The HTTP service shows it, and can reach neither brokers nor sources.
"""

from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

from prometheus_client import Gauge

from engine.monitor.metrics import CHANGE_LOG_ROWS, CHANGE_LOG_SECONDS, KAFKA_LAG
from engine.store.database import Connection
from engine.store.run import execute

_CHANGE_LOG = "postgres"


class Lag(NamedTuple):
    """The messages behind the position in a stream, and the age of the oldest if it is known."""

    stream: str
    messages: int
    seconds: float | None


def lags_of(consumer: str) -> Iterator[Lag]:
    """Return the lag in each stream that a consumer of this process reads, from the metrics."""
    for labels, value in _samples(KAFKA_LAG, "consumer", consumer):
        yield Lag(f"kafka/{labels['topic']}/{labels['partition']}", int(value), None)
    ages = [value for _, value in _samples(CHANGE_LOG_SECONDS, "reader", consumer)]
    for (_, rows), seconds in zip(
        _samples(CHANGE_LOG_ROWS, "reader", consumer), ages, strict=False
    ):
        yield Lag(_CHANGE_LOG, int(rows), seconds)


def _samples(gauge: Gauge, label: str, value: str) -> Iterator[tuple[dict[str, str], float]]:
    samples = (sample for metric in gauge.collect() for sample in metric.samples)
    return ((each.labels, each.value) for each in samples if each.labels[label] == value)


async def store_lag(conn: Connection, org_id: UUID, consumer: str) -> None:
    """Store the lag of a consumer of this process."""
    lags = list(lags_of(consumer))
    if not lags:
        return
    await execute(
        conn,
        "positions.report_lag",
        org_id=org_id,
        consumer=consumer,
        streams=[lag.stream for lag in lags],
        lags=[lag.messages for lag in lags],
        seconds=[lag.seconds for lag in lags],
    )
