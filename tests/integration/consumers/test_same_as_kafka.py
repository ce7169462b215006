"""A message has the same effect over HTTP as on a topic."""

from functools import partial
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from consumers.kafka.records import read
from consumers.sources import load_sources
from engine.flow.deployment.auto_register import auto_register
from engine.flow.ingestion.ingest import ingest
from engine.model.event import Batch
from engine.service.commands.ingestion import ingest_request
from engine.store.database import Database
from tests.support.http_messages import (
    DAY,
    JSON,
    NEXT,
    SAMPLES,
    Sample,
    cloudevent,
    debezium,
    encoded,
    openlineage,
    posted,
    s3,
)
from tests.support.worlds import World, job, source

EFFECTS = """SELECT d.name, i.scope, i.partition_key, i.columns, i.row_filter, i.reason, i.events,
                    i.source_event -> 'event' AS event, i.source_event -> 'ids' AS ids
             FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid
             WHERE i.source_event ->> 'stream' LIKE %s
             ORDER BY d.name, i.partition_key, i.reason, i.columns"""
ERRORS = "SELECT payload, error FROM dead_letters WHERE stream LIKE %s ORDER BY id"
DEBEZIUM = {"format": "debezium", "columns": {"amount": "amount"}}
OPENLINEAGE = SAMPLES["openlineage"].options
MESSAGES = {
    **{name: sample for name, sample in SAMPLES.items() if name != "batched"},
    "whole dataset": Sample(encoded({"dataset": "a"}), {}),
    "columns and rows": Sample(
        encoded({"dataset": "a", "columns": ["amount"], "rows": {"amount": {"gt": 2**63 - 1}}}), {}
    ),
    "unknown dataset": Sample(encoded({"dataset": "x"}), {}),
    "unknown partition": Sample(encoded({"dataset": "a", "partitions": ["1999-01-01"]}), {}),
    "not JSON": Sample(b"{", {}),
    "lone surrogate": Sample(b'{"dataset": "a", "note": "\\ud800"}', {}),
    "NUL": Sample(b'{"dataset": "a", "note": "\\u0000"}', {}),
    "number beyond 64 bits": Sample(b'{"dataset": "a", "rows": {"amount": 1e999}}', {}),
    "record": Sample(encoded({"dt": DAY, "amount": 1}), {"format": "record"}),
    "record without partition": Sample(encoded({"amount": 1}), {"format": "record"}),
    "update": Sample(
        encoded(debezium(op="u", before={"id": 1, "dt": DAY, "amount": 4})),
        {**DEBEZIUM, "before": "full"},
    ),
    "moved row": Sample(
        encoded(debezium(op="u", before={"id": 1, "dt": NEXT, "amount": 5})), DEBEZIUM
    ),
    "tombstone": Sample(b"", {"format": "debezium"}),
    "heartbeat": Sample(encoded({"ts_ms": 1}), {"format": "debezium"}),
    "several objects": Sample(
        encoded({"Records": [*s3()["Records"], *s3(NEXT, "02")["Records"]]}), SAMPLES["s3"].options
    ),
    "other object": Sample(encoded(s3("x")), SAMPLES["s3"].options),
    "failed run": Sample(encoded(openlineage(eventType="FAIL")), OPENLINEAGE),
    "started run": Sample(encoded(openlineage(eventType="START")), OPENLINEAGE),
    "unknown output": Sample(
        encoded(openlineage(outputs=[{"namespace": "db", "name": "x"}])), OPENLINEAGE
    ),
    "cloudevent without data": Sample(
        encoded({**cloudevent(), "data": None}),
        {"format": "cloudevents"},
        {"content-type": "application/cloudevents+json"},
    ),
}


def record(sample: Sample) -> ConsumerRecord[bytes, bytes]:
    headers = [
        (name.lower().replace("ce-", "ce_"), text.encode()) for name, text in sample.headers.items()
    ]
    value = sample.body or None
    return ConsumerRecord("t", 0, 7, 0, 0, None, value, None, 0, len(sample.body), headers)


async def effects(world: World, transport: str) -> tuple[list[Any], list[Any]]:
    rows = [[*row.values()] for row in await world.rows(EFFECTS, f"{transport}/%")]
    return rows, [[*row.values()] for row in await world.rows(ERRORS, f"{transport}/%")]


@pytest.mark.parametrize("sample", MESSAGES.values(), ids=MESSAGES)
async def test_a_message_has_the_same_effect_as_on_a_topic(
    database: Database, sample: Sample
) -> None:
    columns = ["id", "dt", "amount"]
    over_http = posted(**sample.options)
    on_kafka = source("a", source={"kind": "kafka", "topic": "t", **sample.options})
    for each in (over_http, on_kafka):
        each["outputs"][0]["columns"] = columns
    world = await World.made(database, on_kafka, job("b", "a"))
    async with world.conn() as conn:
        readers = (await load_sources(conn, world.org)).readers(
            partial(auto_register, conn, world.org)
        )
        outcome = read(readers["t"], "kafka/t/0", [record(sample)])
        received, rejections = tuple(outcome.received), tuple(outcome.rejections)
        batch = Batch(consumer="k", received=received, rejections=rejections)
        await ingest(conn, world.org, batch)
    await world.deploy(over_http, job("b", "a"))

    await ingest_request(world.caller, world.service, "in", sample.headers or JSON, sample.body)

    invalidations, errors = await effects(world, "http")
    assert (invalidations, errors) == await effects(world, "kafka")
