"""A message rejected by the database does not stop its stream."""

from consumers.postgres.attach import attach
from engine.embedded.broker import Broker
from engine.store.database import Database
from tests.integration.consumers.test_run import consuming, kafka, table, tenant
from tests.support.kafka import topic_on
from tests.support.worlds import DAILY, World, job, source

_REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '54000'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON data_invalidations
    FOR EACH ROW WHEN (NEW.partition_key = '2013-02-14') EXECUTE FUNCTION refuse()
"""


async def days(world: World) -> set[str]:
    rows = await world.rows(
        "SELECT partition_key AS key FROM data_invalidations WHERE reason IN ('change', 'arrival')"
    )
    return {row["key"] for row in rows}


async def test_a_topic_is_read_past_an_event_with_a_foreign_version(
    database: Database, broker: Broker
) -> None:
    async with topic_on(broker) as topic:
        world = await World.made(
            database, kafka("a", topic.name), job("b", "a"), source("z"), kafka("end", topic.name)
        )
        (foreign,) = await world.rows(
            "SELECT dataset_version AS id FROM current_datasets WHERE name = 'z'"
        )
        bad = ["00000000-0000-0000-0000-000000000001", str(foreign["id"])]
        for version in bad:
            await topic.send_bytes(
                f'{{"dataset": "a", "partitions": ["2013-02-14"], "version": "{version}"}}'.encode()
            )
        for day in (15, 17, 19):
            await topic.send_bytes(f'{{"dataset": "a", "partitions": ["2013-02-{day}"]}}'.encode())
        await topic.send_bytes(b'{"dataset": "end", "partitions": ["2013-02-19"]}')
        async with consuming(world, broker.bootstrap_servers, broker.consumer_options) as heard:
            await heard("end")
        assert await days(world) == {"2013-02-15", "2013-02-17", "2013-02-19"}
        letters = await world.rows("SELECT error FROM dead_letters")
        assert len(letters) == 2
        assert all("has no version" in each["error"] for each in letters)


async def test_a_topic_is_read_past_a_row_rejected_by_the_database(
    database: Database, broker: Broker
) -> None:
    async with topic_on(broker) as topic:
        world = await World.made(database, kafka("a", topic.name), kafka("end", topic.name))
        async with world.conn() as conn:
            await conn.execute(_REFUSE)
        for day in (12, 14, 16):
            await topic.send_bytes(f'{{"dataset": "a", "partitions": ["2013-02-{day}"]}}'.encode())
        await topic.send_bytes(b'{"dataset": "end", "partitions": ["2013-02-19"]}')
        async with consuming(world, broker.bootstrap_servers, broker.consumer_options) as heard:
            await heard("end")
        assert await days(world) == {"2013-02-12", "2013-02-16", "2013-02-19"}
        (letter,) = await world.rows("SELECT payload, error FROM dead_letters")
        assert letter["payload"] == b'{"dataset": "a", "partitions": ["2013-02-14"]}'
        assert "refused" in letter["error"]


async def test_a_change_log_is_read_past_a_row_rejected_by_the_database(
    database: Database,
) -> None:
    world = await World.made(database, table("t"), table("last"))
    async with world.conn() as conn:
        await conn.execute(_REFUSE)
        for name in ("t", "last"):
            await conn.execute(f"CREATE TABLE {name} (id serial PRIMARY KEY, dt date)".encode())
            await attach(conn, tenant(world), name, name, DAILY)
        for day in (12, 14, 16):
            await conn.execute(f"INSERT INTO t (dt) VALUES ('2013-02-{day}')".encode())
        await conn.execute("INSERT INTO last (dt) VALUES ('2013-02-19')")
    async with consuming(world, None) as heard:
        await heard("last")
    assert await days(world) == {"2013-02-12", "2013-02-16", "2013-02-19"}
    (letter,) = await world.rows("SELECT error FROM dead_letters")
    assert "refused" in letter["error"]
