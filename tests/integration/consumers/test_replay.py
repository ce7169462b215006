"""Replay of dead letters: ingested letters, remaining letters, and the reasons."""

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from consumers.replay import Replayed, replay
from consumers.schema_registry import Registry
from engine.errors import InvalidInput, UnknownName
from engine.flow.ingestion import discard_letters as discarding
from engine.flow.ingestion.discard_letters import LetterFilter, discard_letters, discard_matching
from engine.flow.ingestion.ingest import ingest
from engine.model.event import Batch, Rejection
from engine.service.commands.dead_letters import discard_all, replay_all
from engine.service.queries.dead_letters import dead_letter, dead_letters
from engine.service.queries.status import status
from engine.store.database import Database
from tests.support.worlds import World, job, source

DAY = "2013-02-13"


def topic(name: str) -> dict[str, Any]:
    return source(name, source={"kind": "kafka", "topic": "changes", "dataset": name})


async def a_letter(world: World, payload: bytes, position: str = "7", stream: str = "") -> UUID:
    letter = Rejection(
        stream=stream or "kafka/changes/0",
        position=position,
        payload=payload,
        error="at first",
        headers={"trace": "1"},
    )
    async with world.conn() as conn:
        await ingest(conn, world.org, Batch(consumer="k", rejections=(letter,)))
        return (await dead_letters(world.caller, world.service, limit=1))[0].id


async def replayed(world: World, *ids: UUID) -> list[Replayed]:
    async with world.conn() as conn:
        return await replay(conn, world.org, ids)


async def test_a_readable_dead_letter_is_replayed_once(database: Database) -> None:
    world = await World.made(database, topic("a"), job("b", "a"))
    letter = await a_letter(world, f'{{"partitions": ["{DAY}"]}}'.encode())
    (done,) = await replayed(world, letter)
    assert (done.id, done.error, len(done.invalidations)) == (letter, None, 1)
    assert await replayed(world, letter) == []
    await world.plan()
    assert (await world.tasks())["queued"] == [f"b[{DAY}]"]


async def test_an_unreadable_dead_letter_keeps_its_latest_error(database: Database) -> None:
    world = await World.made(database, topic("a"), job("b", "a"))
    letter = await a_letter(world, b"{")
    (done,) = await replayed(world, letter)
    assert done.error is not None
    stored = await dead_letter(world.caller, world.service, str(letter))
    assert [entry.id for entry in await replay_all(world.caller, world.service)] == [letter]
    assert stored.error == done.error != "at first"
    assert stored.replayed_at is None


async def test_a_rejected_dead_letter_keeps_its_latest_error(database: Database) -> None:
    world = await World.made(database, topic("a"), job("b", "a"))
    letter = await a_letter(world, b'{"partitions": ["1999-01-01"]}')
    (done,) = await replayed(world, letter)
    assert done.error is not None
    assert "1999" in done.error
    assert (await dead_letter(world.caller, world.service, str(letter))).error == done.error


async def test_a_single_event_of_an_array_is_replayed(database: Database) -> None:
    world = await World.made(database, topic("a"), job("b", "a"))
    days = [f'{{"partitions": ["2013-02-0{n}"]}}' for n in (1, 2, 3)]
    letter = await a_letter(world, f"[{','.join(days)}]".encode(), position="7#1")
    (done,) = await replayed(world, letter)
    assert len(done.invalidations) == 1
    await world.plan()
    assert (await world.tasks())["queued"] == ["b[2013-02-02]"]


async def test_rejected_events_of_a_replayed_array_become_dead_letters(database: Database) -> None:
    world = await World.made(database, topic("a"), job("b", "a"))
    letter = await a_letter(
        world,
        f'[{{"partitions": ["{DAY}"]}}, {{"reason": "change", "partitions": ["x"]}}]'.encode(),
    )
    (done,) = await replayed(world, letter)
    assert (done.error, len(done.invalidations)) == (None, 1)
    left = await dead_letters(world.caller, world.service)
    assert [entry.position for entry in left] == ["7#1"]


async def test_replaying_a_message_of_an_unbound_topic_fails(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    (done,) = await replayed(world, await a_letter(world, b"{}"))
    assert done.error is not None
    assert "'changes'" in done.error


async def test_a_captured_change_is_replayed_as_an_event(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    payload = f'{{"dataset": "a", "partitions": ["{DAY}"]}}'.encode()
    letter = await a_letter(world, payload, stream="postgres/1/db")
    (done,) = await replayed(world, letter)
    assert len(done.invalidations) == 1


async def a_loss(world: World) -> UUID:
    loss = Rejection(
        stream="kafka/changes/0",
        position="3..5",
        payload=None,
        error="lost: the broker deleted offsets 3 to 5",
        is_loss=True,
    )
    async with world.conn() as conn:
        await ingest(conn, world.org, Batch(consumer="k", rejections=(loss,)))
        return (await dead_letters(world.caller, world.service, limit=1))[0].id


async def test_lost_messages_are_not_replayed(database: Database) -> None:
    world = await World.made(database, topic("a"), job("b", "a"))
    letter = await a_loss(world)
    (done,) = await replayed(world, letter)
    assert done.error is not None
    assert "dead-letters discard" in done.error
    stored = await dead_letter(world.caller, world.service, str(letter))
    assert await replay_all(world.caller, world.service) == []
    assert (stored.error, stored.replayed_at) == ("lost: the broker deleted offsets 3 to 5", None)


async def test_a_discarded_letter_records_the_caller_and_the_reason(database: Database) -> None:
    world = await World.made(database, topic("a"), job("b", "a"))
    loss, other = await a_loss(world), await a_letter(world, b"{")
    async with world.conn() as conn:
        discarded = await discard_letters(conn, world.org, [loss], reason="invalidated a", by="me")
        assert discarded == [loss]
        assert [entry.id for entry in await dead_letters(world.caller, world.service)] == [other]
        assert (await status(world.caller, world.service)).dead_letters == 1
        stored = await dead_letter(world.caller, world.service, str(loss))
        listed = await dead_letters(world.caller, world.service, with_done=True)
    assert {entry.id for entry in listed} == {loss, other}
    assert (stored.closed_by, stored.close_reason) == ("me", "invalidated a")
    assert stored.closed_at is not None
    assert await replayed(world, loss) == []


async def test_letters_are_discarded_atomically(database: Database) -> None:
    world = await World.made(database, topic("a"), job("b", "a"))
    loss, other = await a_loss(world), await a_letter(world, b"{")
    async with world.conn() as conn:
        await discard_letters(conn, world.org, [loss], reason="x", by=None)
        with pytest.raises(InvalidInput, match="nothing was discarded"):
            await discard_letters(conn, world.org, [loss, other], reason="x", by=None)
        with pytest.raises(InvalidInput, match="reason is empty"):
            await discard_letters(conn, world.org, [other], reason=" ", by=None)
        assert [entry.id for entry in await dead_letters(world.caller, world.service)] == [other]


@pytest.mark.parametrize(
    ("matching", "expected"),
    [
        (LetterFilter(), 3),
        (LetterFilter(stream="kafka/a"), 2),
        (LetterFilter(stream="kafka"), 3),
        (LetterFilter(stream="kaf"), 0),
        (LetterFilter(error="deleted"), 1),
        (LetterFilter(stream="kafka/b/0", error="once"), 1),
        (LetterFilter(stream="kafka/b/0", error="%"), 0),
    ],
)
async def test_matching_letters_are_discarded_in_batches(
    database: Database, monkeypatch: pytest.MonkeyPatch, matching: LetterFilter, expected: int
) -> None:
    monkeypatch.setattr(discarding, "_DISCARDED_AT_ONCE", 1)
    world = await World.made(database, topic("a"), job("b", "a"))
    for stream, error in (("a/0", "deleted"), ("a/1", "once"), ("b/0", "once")):
        await world.rows(
            "INSERT INTO dead_letters (id, org_id, consumer, stream, position, payload, error) "
            "VALUES (gen_random_uuid(), %s, 'k', 'kafka/' || %s, '7', '', %s) RETURNING id",
            world.org.id,
            stream,
            error,
        )
    async with world.conn() as conn:
        count = await discard_matching(conn, world.org, matching, reason="x", by="ann")
        assert count == expected
        assert await discard_matching(conn, world.org, matching, reason="x", by="eve") == 0
        with pytest.raises(InvalidInput, match="reason is empty"):
            await discard_matching(conn, world.org, matching, reason="", by="eve")
    letters = await dead_letters(world.caller, world.service, with_done=True)
    assert [letter.closed_by for letter in letters if letter.closed_at] == ["ann"] * expected
    assert (await status(world.caller, world.service)).dead_letters == 3 - expected


async def test_an_unknown_letter_is_rejected_with_the_command_that_lists_them(
    database: Database,
) -> None:
    world = await World.made(database, topic("a"), job("b", "a"))
    with pytest.raises(UnknownName, match=r"no dead letter abc in .* 'knockon dead-letters'"):
        await dead_letter(world.caller, world.service, "abc")
    with pytest.raises(InvalidInput, match="'letter' is not the id of a dead letter"):
        await dead_letter(world.caller, world.service, "letter")


async def test_an_unknown_stream_is_rejected(database: Database) -> None:
    world = await World.made(database, topic("a"), job("b", "a"))
    await world.rows(
        "INSERT INTO consumer_positions (org_id, consumer, stream, position) "
        "VALUES (%s, 'k', 'kafka/orders/0', '7') RETURNING stream",
        world.org.id,
    )
    discarding_all = partial(discard_all, world.caller, world.service, reason="x")
    for known in ("kafka", "kafka/orders", "kafka/orders/0"):
        assert await discarding_all(stream=known) == 0
    with pytest.raises(UnknownName, match=r"no stream 'kafka/order' .*mean 'kafka/orders/0'\?"):
        await discarding_all(stream="kafka/order")
    with pytest.raises(UnknownName, match=r"see the streams with 'knockon dead-letters'"):
        await discarding_all(stream="x")


async def test_a_loss_reported_again_is_reopened(database: Database) -> None:
    world = await World.made(database, topic("a"), job("b", "a"))
    loss = await a_loss(world)
    async with world.conn() as conn:
        await discard_letters(conn, world.org, [loss], reason="x", by=None)
    assert await a_loss(world) == loss


async def test_schemas_are_requested_outside_of_transactions(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = {"kind": "kafka", "topic": "changes", "dataset": "a", "format": "record"}
    world = await World.made(database, source("a", source={**kafka, "registry": "http://x.test"}))
    await a_letter(world, b"\0")
    busy: list[int] = []

    async def load(_: Registry, values: Sequence[bytes | None]) -> None:
        assert list(values) == [b"\0"]
        rows = await world.rows(
            "SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND xact_start IS NOT NULL AND backend_type = %s",
            "client backend",
        )
        busy.append(rows[0]["n"])

    monkeypatch.setattr(Registry, "load", load)
    await replay_all(world.caller, world.service)
    assert busy == [0]


async def test_a_deploy_between_the_requests_and_the_replay_is_respected(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = {"kind": "kafka", "topic": "changes", "dataset": "a", "format": "record"}
    first = source("a", source={**kafka, "registry": "http://x.test"})
    world = await World.made(database, first)
    await a_letter(world, f'{{"partitions": ["{DAY}"]}}'.encode())

    async def load(_: Registry, values: Sequence[bytes | None]) -> None:
        await world.deploy(topic("a"), job("b", "a"))

    monkeypatch.setattr(Registry, "load", load)
    (done,) = await replay_all(world.caller, world.service)
    assert (done.error, len(done.invalidations)) == (None, 1)
