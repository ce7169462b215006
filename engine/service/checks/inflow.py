"""Checks of an org's sources: broker, topics, endpoints, attached tables, lag of the consumers."""

from collections.abc import Mapping, Sequence

import psycopg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from consumers.kafka.batches import stream_of
from consumers.kafka.compaction import compacted
from consumers.kafka.partitions import partitions_of
from consumers.kafka.position import Position
from consumers.postgres.connection import connect
from consumers.postgres.readers import State, state
from consumers.postgres.rights import excessive_rights
from consumers.run import has_log
from consumers.sources import Sources, reader_of
from engine.embedded.broker import Broker
from engine.lineage.graph import Lineage
from engine.model.discovery import DiscoveredDataset
from engine.service.checks.attachments import check_attachments
from engine.service.checks.captured_partitions import check_captured_partitions
from engine.service.checks.check import Check, Checks, CheckVerdict, judge
from engine.store.addresses import SOURCE_URL, Address
from engine.wording import counted, some, span

_MANY = 10_000
_LONGEST_UNREAD_SECONDS = 300.0
_FULL = 0.1
_PATIENCE_MS = 4_000


async def check_kafka(
    broker: Broker | None, sources: Sources, stored: Mapping[str, str]
) -> list[Check]:
    """Check the broker, the topics and the lag from the ``stored`` positions of streams."""
    remedy = "start it, or set KNOCKON_KAFKA_BOOTSTRAP_SERVERS"
    if broker is None:
        return [
            Check(
                "Kafka", CheckVerdict.FAIL, "no broker is configured, but DAGs read topics", remedy
            )
        ]
    where = broker.bootstrap_servers
    client = AIOKafkaConsumer(**broker.connection, request_timeout_ms=_PATIENCE_MS)
    try:
        await client.start()
        known = await client.topics()
        topics = known & sources.topics.keys()
        ends = await client.end_offsets(await partitions_of(broker.connection, topics))
        losing = await compacted(broker.connection, topics)
    except (KafkaError, OSError) as error:
        return [Check("Kafka", CheckVerdict.FAIL, f"{where} does not answer: {error!r}", remedy)]
    finally:
        await client.stop()
    checks = [Check("Kafka", CheckVerdict.OK, where), _topics(sources, known), _lag(ends, stored)]
    return [*checks, _compaction(losing)] if losing else checks


def check_endpoints(sources: Sources) -> Check:
    """Check that the sources of each HTTP endpoint can be read together."""
    problems = []
    for endpoint, feeds in sorted(sources.endpoints.items()):
        try:
            reader_of(feeds, _no_registration)
        except Exception as error:  # also of plug-ins
            problems.append(f"{endpoint}: {error}")
    detail = "; ".join(problems) or some(sorted(sources.endpoints))
    return judge("endpoints", not problems, detail, "correct the DAG files, or the environment")


async def _no_registration(discovered: Sequence[DiscoveredDataset]) -> list[DiscoveredDataset]:
    return []


def _compaction(topics: set[str]) -> Check:
    return Check(
        "compaction",
        CheckVerdict.WARN,
        f"compacted: {some(sorted(topics))}",
        "set cleanup.policy=delete, because messages removed before being read are missed; or set "
        "min.compaction.lag.ms longer than any outage",
    )


def _topics(sources: Sources, known: set[str]) -> Check:
    missing = sorted(sources.topics.keys() - known)
    detail = f"missing: {some(missing)}" if missing else some(sorted(sources.topics))
    return judge("topics", not missing, detail, "create them, or correct the DAG file")


def _lag(ends: Mapping[TopicPartition, int], stored: Mapping[str, str]) -> Check:
    reached = (Position.from_text(stored.get(stream_of(part), "0")).offset for part in ends)
    behind = sum(max(end - offset, 0) for end, offset in zip(ends.values(), reached, strict=True))
    return judge(
        "Kafka lag",
        behind < _MANY,
        f"{counted(behind, 'message')} behind",
        "run more 'knockon consume', up to the number of partitions",
    )


async def check_tables(sources: Sources, source_url: str, org: str, lineage: Lineage) -> Checks:
    """Check the attached tables and the change log of a source database."""
    try:
        if not await has_log(source_url):
            what = f"none of {some(sorted(sources.tables))} is attached"
            yield Check(
                "tables",
                CheckVerdict.WARN,
                what,
                "attach them: knockon attach TABLE --dataset NAME",
            )
            return
        async with await connect(source_url) as source:
            attached = await check_attachments(source, org, sources.tables)
            captured = await check_captured_partitions(source, org, lineage)
            log = await state(source)
            excessive = await excessive_rights(source)
    except psycopg.Error as error:
        problem, remedy = Address(source_url, SOURCE_URL).failure(error)
        yield Check("tables", CheckVerdict.FAIL, problem, remedy)
        return
    yield attached
    yield captured
    yield judge(
        "log rights",
        not excessive,
        "; ".join(excessive) or "no other role may act on the change log",
        "REVOKE them, or drop the objects: another role could run code, or stop the log",
        CheckVerdict.FAIL,
    )
    yield _readers(log)
    yield judge(
        "source notifications",
        log.queue_usage < _FULL,
        f"{log.queue_usage:.0%} of the source's NOTIFY queue is used",
        "end the listening session with the old transaction: see pg_stat_activity of the source",
    )


def _readers(log: State) -> Check:
    """Check the slowest reader, because the log keeps all changes unread by any reader."""
    if not log.readers:
        return Check("change log", CheckVerdict.WARN, "not read yet", "run 'knockon consume'")
    slowest = max(log.readers, key=lambda reader: reader.seconds)
    late = f", for {span(slowest.seconds)}" if slowest.rows else ""
    return judge(
        "change log",
        slowest.seconds < _LONGEST_UNREAD_SECONDS and slowest.rows < _MANY,
        f"{counted(slowest.rows, 'change')} not ingested by {slowest.name}{late}",
        f"run its 'knockon consume'; if retired: knockon forget {slowest.name}",
    )
