"""Do changes come in?"""

from collections.abc import Mapping
from uuid import UUID

import psycopg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from psycopg import AsyncConnection

from consumers.kafka.batches import stream_of
from consumers.kafka.partitions import partitions_of
from consumers.run import has_log
from consumers.sources import Sources, load_sources
from engine.cli.checks.check import Check, Checks, judge
from engine.cli.output import counted, some
from engine.embedded.broker import Broker
from engine.flow.scene import Scene
from engine.store.database import Connection, display_url
from engine.store.run import fetch

_MANY = 10_000
_PATIENCE_MS = 4_000


async def check_inflow(
    conn: Connection, scene: Scene, consumer: str, broker: Broker | None, source_url: str
) -> Checks:
    """Broker and topics, source tables, and how far the consumers are behind."""
    sources = await load_sources(conn, scene)
    if sources.topics:
        for check in await _kafka(broker, sources, await _stored(conn, scene.org_id, consumer)):
            yield check
    if sources.tables:
        yield await _tables(sources, source_url)


async def _stored(conn: Connection, org_id: UUID, consumer: str) -> Mapping[str, str]:
    rows = await fetch(conn, "positions.stored", org_id=org_id, consumer=consumer)
    return {row["stream"]: row["position"] for row in rows}


async def _kafka(broker: Broker | None, sources: Sources, stored: Mapping[str, str]) -> list[Check]:
    remedy = "start it, or set KNOCKON_KAFKA_BOOTSTRAP_SERVERS"
    if broker is None:
        return [Check("Kafka", "fail", "no broker is set, but DAGs read topics", remedy)]
    where = broker.bootstrap_servers
    client = AIOKafkaConsumer(**broker.connection, request_timeout_ms=_PATIENCE_MS)
    try:
        await client.start()
        known = await client.topics()
        topics = known & sources.topics.keys()
        ends = await client.end_offsets(await partitions_of(broker.connection, topics))
    except (KafkaError, OSError) as error:
        return [Check("Kafka", "fail", f"{where} does not answer: {error!r}", remedy)]
    finally:
        await client.stop()
    return [Check("Kafka", "ok", where), _topics(sources, known), _lag(ends, stored)]


def _topics(sources: Sources, known: set[str]) -> Check:
    missing = sorted(sources.topics.keys() - known)
    detail = f"missing: {some(missing)}" if missing else some(sorted(sources.topics))
    return judge("topics", not missing, detail, "create them, or correct the DAG file")


def _lag(ends: Mapping[TopicPartition, int], stored: Mapping[str, str]) -> Check:
    behind = sum(
        max(end - int(stored.get(stream_of(partition), 0)), 0) for partition, end in ends.items()
    )
    return judge(
        "Kafka lag",
        behind < _MANY,
        f"{counted(behind, 'message')} behind",
        "run 'knockon consume', or more of them, up to the number of partitions",
    )


async def _tables(sources: Sources, source_url: str) -> Check:
    where = display_url(source_url)
    try:
        if not await has_log(source_url):
            what = f"none of {some(sorted(sources.tables))} is attached"
            return Check("tables", "warn", what, "attach them: knockon attach TABLE --dataset NAME")
        behind = await _unread(source_url)
    except psycopg.Error as error:
        remedy = "start it, or set KNOCKON_SOURCE_URL"
        return Check("tables", "fail", f"{where} does not answer: {error}", remedy)
    return judge(
        "tables",
        behind < _MANY,
        f"{counted(behind, 'change')} logged and not taken in",
        "run 'knockon consume', or look into its log",
    )


async def _unread(source_url: str) -> int:
    async with await AsyncConnection.connect(source_url, connect_timeout=5) as source:
        found = await source.execute("SELECT count(*) FROM knockon_source.changes")
        return int((await found.fetchone() or [0])[0])
