"""Events rejected by the database become dead letters, and the rest are ingested."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import psycopg
import pytest

from consumers.manual import invalidate
from consumers.replay import replay
from engine.errors import InvalidInput
from engine.flow.ingestion.ingest import Ingested, ingest
from engine.model.event import Batch, Delivery, Received, Rejection, SourceEvent
from engine.model.reported_lineage import DatasetNaming, Name, ReportedColumn, ReportedLineage
from engine.store.database import Connection, Database
from tests.support.worlds import World, job, source

_REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF {condition} THEN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER refuse AFTER INSERT ON data_invalidations REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION refuse()
"""


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(database, source("a"), job("b", "a"), source("z"))


async def refuse(world: World, condition: str, code: str = "54000") -> None:
    """Make the database reject inserts of matching invalidations."""
    async with world.conn() as conn:
        await conn.execute(_REFUSE.format(condition=condition, code=code).encode())


async def take(
    world: World, events: Sequence[SourceEvent], reported: Sequence[ReportedLineage] = ()
) -> Ingested:
    received = tuple(
        Received.one(event, Delivery("s", str(n), b'{"dataset": "a"}'))
        for n, event in enumerate(events)
    )
    batch = Batch(consumer="k", received=received, reported_lineage=tuple(reported))
    async with world.conn() as conn:
        return await ingest(conn, world.org, batch)


def change(day: int, **more: object) -> SourceEvent:
    return SourceEvent(dataset="a", partitions=(f"2013-02-{day:02}",), **more)  # type: ignore[arg-type]


async def keys(world: World) -> list[str]:
    rows = await world.rows(
        "SELECT partition_key AS key FROM data_invalidations WHERE reason = 'change' ORDER BY 1"
    )
    return [row["key"] for row in rows]


async def version_of(world: World, dataset: str) -> UUID:
    rows = await world.rows(
        "SELECT dataset_version AS v FROM current_datasets WHERE name = %s", dataset
    )
    version: UUID = rows[0]["v"]
    return version


async def test_an_unknown_version_is_a_dead_letter(world: World) -> None:
    events = [change(10), change(11, version=str(uuid4())), change(12)]
    done = await take(world, events)
    assert await keys(world) == ["2013-02-10", "2013-02-12"]
    (letter,) = await world.rows("SELECT position, payload, error FROM dead_letters")
    assert (letter["position"], letter["payload"]) == ("1", b'{"dataset": "a"}')
    assert letter["error"].startswith("dataset 'a' has no version ")
    assert len(done.invalidations) == 2


async def test_a_version_of_another_dataset_is_a_dead_letter(world: World) -> None:
    foreign = str(await version_of(world, "z"))
    await take(world, [change(10), change(11, version=foreign)])
    assert await keys(world) == ["2013-02-10"]
    assert len(await world.rows("SELECT FROM dead_letters")) == 1


async def test_an_event_for_an_earlier_version_is_stored(world: World) -> None:
    earlier = str(await version_of(world, "a"))
    await world.deploy(source("a", {}), job("b", "a"), source("z"))
    done = await take(world, [SourceEvent(dataset="a", version=earlier)])
    assert (len(done.invalidations), done.rejections) == (1, ())


@pytest.mark.parametrize("bad", [0, 4, 8])
async def test_a_row_that_violates_a_constraint_is_a_dead_letter(world: World, bad: int) -> None:
    events = [change(1 + 3 * n, reason="bogus" if n == bad else "change") for n in range(9)]
    done = await take(world, events)
    assert await keys(world) == [f"2013-02-{1 + 3 * n:02}" for n in range(9) if n != bad]
    (rejected,) = done.rejections
    assert rejected.position == str(bad)
    assert "CheckViolation" in rejected.error


async def test_a_statement_beyond_a_limit_is_split_until_it_fits(world: World) -> None:
    """Such as row filters of more than 256 MB in total."""
    await refuse(world, "(SELECT count(*) FROM made) > 3")
    done = await take(world, [change(n, columns=(f"c{n}",)) for n in range(10, 20)])
    assert (len(done.invalidations), done.rejections) == (10, ())


async def test_coalesced_events_are_rejected_individually(world: World) -> None:
    """One of the ids is rejected by the database."""
    await refuse(
        world, "EXISTS (SELECT FROM made WHERE source_event ->> 'ids' LIKE '%bad%')", "22000"
    )
    event = change(10)
    received = Received(
        event=event,
        stream="s",
        deliveries=tuple(Delivery("s", str(n)) for n in range(5)),
        ids=("e0", "e1", "bad", "e3", "e4"),
    )
    async with world.conn() as conn:
        done = await ingest(conn, world.org, Batch(consumer="k", received=(received,)))
    assert [each.position for each in done.rejections] == ["2"]
    rows = await world.rows(
        "SELECT sum(events)::int AS n FROM data_invalidations WHERE reason = 'change'"
    )
    assert rows == [{"n": 4}]


@pytest.mark.parametrize("code", ["40001", "40P01", "55P03", "57014", "53100", "42501"])
async def test_transient_errors_reject_nothing(world: World, code: str) -> None:
    await refuse(world, "true", code)
    with pytest.raises(psycopg.Error, match="refused"):
        await take(world, [change(10), change(11)])
    assert await world.rows("SELECT FROM dead_letters") == []


async def test_a_manual_request_gets_the_error(world: World) -> None:
    async with world.conn() as conn:
        with pytest.raises(InvalidInput, match="has no version"):
            await invalidate(conn, world.org, change(10, version=str(uuid4())))
        with pytest.raises(InvalidInput, match="CheckViolation"):
            await invalidate(conn, world.org, change(10, reason="bogus"))
    assert await world.rows("SELECT FROM dead_letters") == []
    assert await keys(world) == []


async def test_a_replayed_letter_keeps_its_latest_error(world: World) -> None:
    payload = b'{"dataset": "a", "version": "%s"}' % str(uuid4()).encode()
    received = Received.one(SourceEvent(dataset="nowhere"), Delivery("s", "1", payload))
    async with world.conn() as conn:
        await ingest(conn, world.org, Batch(consumer="k", received=(received,)))
        (row,) = await world.rows("SELECT id FROM dead_letters")
        (done,) = await replay(conn, world.org, [row["id"]])
    assert done.error is not None
    assert "has no version" in done.error
    (letter,) = await world.rows("SELECT error, replayed_at FROM dead_letters")
    assert letter == {"error": done.error, "replayed_at": None}


async def test_reported_lineage_rejected_by_the_database_is_a_dead_letter(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> int:
        raise psycopg.errors.StringDataRightTruncation("too long")

    monkeypatch.setattr("engine.flow.ingestion.ingest.record_reported_lineage", fails)
    names = (Name("n", "a"),)
    reported = ReportedLineage(
        runs=(uuid4(),),
        names=names,
        columns=frozenset({"c"}),
        reads=(ReportedColumn("c", names, "c"),),
        naming=(DatasetNaming("n", "{dataset}"),),
    )
    done = await take(world, [change(10)], [reported])
    assert (len(done.invalidations), len(done.rejections)) == (1, 1)
    (letter,) = await world.rows("SELECT stream, error FROM dead_letters")
    assert letter["stream"] == "openlineage"
    assert "too long" in letter["error"]


async def test_thousands_of_sparse_keys_are_stored_once(world: World) -> None:
    """The event is not repeated in full for each key."""
    sparse = source("s", {"id": {"range": 1000}})
    await world.deploy(sparse, dag="sparse")
    texts = tuple(f"{n * 2000}-{n * 2000 + 999}" for n in range(5_000))
    done = await take(world, [SourceEvent(dataset="s", partitions=texts)])
    assert len(done.invalidations) == 5_000
    (row,) = await world.rows(
        "SELECT max(pg_column_size(source_event)) AS bytes, "
        "min(source_event -> 'event' ->> 'partitions_count') AS named "
        "FROM data_invalidations WHERE partition_key IS NOT NULL AND reason = 'change'"
    )
    assert row["named"] == "5000"
    assert row["bytes"] < 5_000


async def test_an_error_of_a_callback_does_not_write_the_batch_again(world: World) -> None:
    calls: list[str] = []

    async def rejected(_: Sequence[Rejection]) -> None:
        calls.append("rejected")

    async def confirm(_: Connection) -> None:
        calls.append("confirm")
        raise KeyError("the sources have changed")

    batch = Batch(consumer="k", received=(Received.one(change(10), Delivery("s", "1")),))
    async with world.conn() as conn:
        with pytest.raises(KeyError):
            await ingest(conn, world.org, batch, rejected, confirm)
    assert calls == ["confirm"]
