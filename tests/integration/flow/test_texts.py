"""Texts that PostgreSQL cannot store, with NUL or lone surrogates, are recorded cleaned."""

import pytest

from engine.flow.execution.cancel import cancel
from engine.flow.execution.complete import complete
from engine.flow.execution.fail import fail
from engine.flow.ingestion.ingest import ingest
from engine.model.event import Batch, Delivery, Received, Rejection, SourceEvent
from engine.model.task import Completion, Output
from engine.store.database import Database
from engine.store.rows.orgs import OrgRow
from engine.store.run import fetch_one
from tests.support.worlds import World, job, source

BAD = "a \0 and \ud83d"
CLEAN = "a \N{SYMBOL FOR NULL} and ?"


@pytest.fixture
async def world(database: Database) -> World:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", "2013-02-13")
    return world


@pytest.mark.parametrize("retryable", [True, False])
async def test_the_error_of_an_attempt_is_cleaned(world: World, retryable: bool) -> None:
    (lease,) = await world.claim(worker=BAD)
    async with world.conn() as conn:
        await fail(conn, world.org, lease, BAD, retryable=retryable)
    (row,) = await world.rows("SELECT status, error_message, worker_id FROM tasks")
    assert row["status"] == ("queued" if retryable else "failed")
    assert (row["error_message"], row["worker_id"]) == (CLEAN, CLEAN)


async def test_the_outcome_of_a_task_is_cleaned(world: World) -> None:
    (row,) = await world.rows("SELECT id FROM tasks")
    async with world.conn() as conn:
        await cancel(conn, world.org, row["id"], BAD)
    (row,) = await world.rows("SELECT outcome FROM tasks")
    assert row["outcome"] == f"canceled: {CLEAN}"


async def test_reported_outputs_are_cleaned(world: World) -> None:
    (lease,) = await world.claim()
    output = Output(
        "b", "2013-02-13", BAD, location=BAD, schema_hash=BAD, column_fingerprints={BAD: BAD}
    )
    async with world.conn() as conn:
        await complete(conn, world.org, Completion(lease, (output,)))
    (row,) = await world.rows(
        "SELECT fingerprint, location, schema_hash, column_fingerprints "
        "FROM partition_versions WHERE task_id IS NOT NULL"
    )
    assert set(map(str, (row["fingerprint"], row["location"], row["schema_hash"]))) == {CLEAN}
    assert row["column_fingerprints"] == {CLEAN: CLEAN}


async def test_a_dead_letter_is_cleaned(world: World) -> None:
    letter = Rejection(stream="s", position=BAD, payload=b"\0", error=BAD, headers={BAD: BAD})
    async with world.conn() as conn:
        await ingest(conn, world.org, Batch(consumer=BAD, rejections=(letter,)))
    (row,) = await world.rows("SELECT consumer, position, error, headers FROM dead_letters")
    assert row == {"consumer": CLEAN, "position": CLEAN, "error": CLEAN, "headers": {CLEAN: CLEAN}}


async def test_texts_of_an_event_are_cleaned(world: World) -> None:
    event = SourceEvent(dataset="a", partitions=("2013-02-14",), id=BAD, note=BAD, source=BAD)
    received = Received.one(event, Delivery("s", "0"))
    async with world.conn() as conn:
        done = await ingest(conn, world.org, Batch(consumer="k", received=(received,)))
    assert len(done.invalidations) == 1
    (row,) = await world.rows(
        "SELECT source_event -> 'event' ->> 'note' AS note FROM data_invalidations "
        "WHERE partition_key = '2013-02-14'"
    )
    assert row == {"note": CLEAN}


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "\\", '"\0"', "\\\0"])
async def test_json_keeps_escaped_text_that_resembles_a_nul(world: World, text: str) -> None:
    letter = Rejection(stream="s", position="0", payload=None, error="e", headers={"h": text})
    async with world.conn() as conn:
        await ingest(conn, world.org, Batch(consumer="k", rejections=(letter,)))
    (row,) = await world.rows("SELECT headers ->> 'h' AS text FROM dead_letters")
    assert row["text"] == text.replace("\0", "\N{SYMBOL FOR NULL}")


async def test_a_lookup_of_text_with_a_nul_does_not_abort_the_transaction(world: World) -> None:
    async with world.conn() as conn, conn.transaction():
        assert await fetch_one(conn, "orgs.by_slug", OrgRow, slug=BAD) is None
        assert await fetch_one(conn, "orgs.by_slug", OrgRow, slug="default") is not None
