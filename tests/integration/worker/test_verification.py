"""Verification: built partitions are recomputed and compared, without any effect."""

from typing import Any

import pytest

from engine.errors import InvalidInput, UnknownName
from engine.service.commands.verify import Verification, verify
from engine.store.database import Database
from tests.support.workers import sql_job, work
from tests.support.worlds import World, job, source

FIRST, SECOND = "2013-02-13", "2013-02-14"
COPY = "SELECT id, amount FROM orders"


@pytest.fixture
async def orders(database: Database) -> Database:
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE orders (id int, amount int, dt date)")
        await conn.execute(
            "INSERT INTO orders SELECT i, i * 10, d FROM generate_series(1, 3) i,"
            f" unnest('{{{FIRST},{SECOND}}}'::date[]) d"
        )
    return database


async def _built(database: Database, *jobs: dict[str, Any]) -> World:
    world = await World.made(database, source("orders"), *jobs)
    await world.changed("orders", FIRST, SECOND)
    await work(world)
    return world


async def _verify(world: World, dataset: str | None = None, **more: Any) -> Verification:
    options = {"share": 1.0, "seed": 1} | more
    return await verify(world.caller, world.service, dataset, **options)


def _outcomes(result: Verification) -> dict[str, str]:
    return {f"{each.job}[{each.partition}]": each.outcome for each in result.partitions}


async def test_partitions_as_computed_are_equal_and_nothing_is_written(orders: Database) -> None:
    total = sql_job(
        "total",
        {"dataset": "copy", "mapping": "all"},
        sql="SELECT sum(amount) AS amount FROM copy",
        partitioning={},
    )
    full = sql_job("full", "copy", sql="SELECT * FROM copy", execution_strategy="Full")
    world = await _built(orders, sql_job("copy", "orders", sql=COPY), total, full)
    before = await world.rows("SELECT xmin::text, * FROM copy ORDER BY id, dt")

    assert _outcomes(await _verify(world)) == dict.fromkeys(
        (f"copy[{FIRST}]", f"copy[{SECOND}]", "total[*]", "full[*]"), "equal"
    )
    assert await world.rows("SELECT xmin::text, * FROM copy ORDER BY id, dt") == before
    assert {*await world.tasks()} == {"succeeded"}


async def test_rows_edited_by_hand_are_reported_with_examples(orders: Database) -> None:
    world = await _built(orders, sql_job("copy", "orders", sql=COPY))
    await world.rows(f"UPDATE copy SET amount = 7 WHERE id = 2 AND dt = '{FIRST}' RETURNING id")
    await world.rows(f"INSERT INTO copy VALUES (1, 10, '{SECOND}') RETURNING id")

    first, second = (await _verify(world)).partitions

    (difference,) = first.comparisons
    assert (first.outcome, difference.rows) == ("different", 3)
    assert (difference.missing_rows, difference.surplus_rows) == (
        (f"(2,20,{FIRST})",),
        (f"(2,7,{FIRST})",),
    )
    (difference,) = second.comparisons
    assert (difference.rows, difference.missing, difference.surplus) == (4, 0, 1)


async def test_each_output_of_a_full_job_is_compared(orders: Database) -> None:
    selects = {"both": "SELECT id, amount, dt FROM orders", "c": "SELECT id, dt FROM orders"}
    both = sql_job("both", "orders", sql=selects, execution_strategy="Full")
    both["outputs"].append({"dataset": "c", "partitioning": both["outputs"][0]["partitioning"]})
    world = await _built(orders, both)
    await world.rows("DELETE FROM c WHERE id = 3 RETURNING id")

    (verified,) = (await _verify(world)).partitions

    assert [(each.dataset, each.missing) for each in verified.comparisons] == [
        ("both", 0),
        ("c", 2),
    ]


async def test_a_select_that_calls_something_changeable_differs(orders: Database) -> None:
    sql = "SELECT id, clock_timestamp() AS at FROM orders"
    world = await _built(orders, sql_job("copy", "orders", sql=sql))
    assert {*_outcomes(await _verify(world)).values()} == {"different"}


async def test_partitions_that_may_differ_for_a_reason_are_skipped(orders: Database) -> None:
    reader = sql_job("reader", "copy", sql="SELECT id FROM copy")
    world = await _built(orders, sql_job("copy", "orders", sql=COPY), reader)
    await world.rows("UPDATE orders SET amount = amount + 1 RETURNING id")
    await world.change("orders", FIRST)

    unplanned = await _verify(world, "copy")
    await world.plan()
    planned = await _verify(world)

    assert _outcomes(unplanned) == {f"copy[{FIRST}]": "skipped", f"copy[{SECOND}]": "different"}
    assert _outcomes(planned) == {
        f"copy[{FIRST}]": "skipped",
        f"copy[{SECOND}]": "different",
        f"reader[{FIRST}]": "skipped",
        f"reader[{SECOND}]": "equal",
    }


async def test_an_input_that_an_attempt_may_have_changed_is_a_reason(orders: Database) -> None:
    reader = sql_job("reader", "copy", sql="SELECT id FROM copy")
    world = await _built(orders, sql_job("copy", "orders", sql=COPY), reader)
    await world.rows(
        "UPDATE partition_versions SET is_partly_written = true RETURNING partition_key"
    )
    (first, _) = (await _verify(world, "reader")).partitions
    assert (first.outcome, first.detail) == ("skipped", "it is stale")
    await world.rows(
        "UPDATE partition_versions p SET is_partly_written = false FROM datasets d"
        " WHERE d.id = p.dataset_uuid AND d.name = 'reader' RETURNING partition_key"
    )
    (first, _) = (await _verify(world, "reader")).partitions
    assert (first.outcome, first.detail) == ("skipped", "its input 'copy' is stale")


async def test_a_partition_that_cannot_be_recomputed_fails(orders: Database) -> None:
    world = await _built(orders, sql_job("copy", "orders", sql=COPY))
    async with world.conn() as conn:
        await conn.execute("ALTER TABLE orders DROP COLUMN amount")
    (first, _) = (await _verify(world)).partitions
    assert first.outcome == "failed"
    assert 'column "amount" does not exist' in (first.detail or "")


async def test_jobs_with_other_targets_are_listed_with_the_reason(orders: Database) -> None:
    appending = {"update_strategy": "append", "unique_key": ["id", "dt"]}
    keyed = sql_job("keyed", "orders", sql=COPY, **appending)
    new_rows = {"dataset": "orders", "cursor": {"column": "id", "type": "integer"}}
    follower = sql_job("follower", new_rows, sql=COPY, execution_strategy="PerUpdate", **appending)
    script = job("script", "orders", operator="python")
    world = await World.made(orders, source("orders"), keyed, follower, script)
    result = await _verify(world)
    assert result.partitions == ()
    assert {each.job: each.reason for each in result.unverifiable} == {
        "keyed": "it keeps rows of earlier runs",
        "follower": "its content depends on the order in which rows were read",
        "script": "the python job decides where it writes",
    }


async def test_a_sample_has_at_least_one_partition_and_can_be_repeated(orders: Database) -> None:
    world = await _built(orders, sql_job("copy", "orders", sql=COPY))
    samples = [_outcomes(await _verify(world, share=0.01, seed=seed)) for seed in (*range(8), 0)]
    assert {len(sample) for sample in samples} == {1}
    assert len({*map(str, samples)}) == 2
    assert samples[0] == samples[-1]


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, float("nan")])
async def test_an_impossible_share_is_rejected(orders: Database, share: float) -> None:
    world = await _built(orders)
    with pytest.raises(InvalidInput, match="up to 100%"):
        await _verify(world, share=share)
    with pytest.raises(UnknownName):
        await _verify(world, "nowhere")
