"""SQL jobs that read earlier partitions of their own output."""

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.errors import TaskFailed
from engine.flow.deployment.deploy import deploy
from engine.flow.planning.audit import audit_all
from engine.flow.shared.org_context import OrgContext
from engine.model.dagfile import parse_dag
from engine.store.database import Database
from engine.store.orgs import org_id
from tests.support.workers import run_lease, sql_job, work
from tests.support.worlds import World, source

DAYS = 20
DAY_BEFORE = {"dataset": "self", "window": [-1, -1]}
BALANCE = """
SELECT p.total + (SELECT coalesce(sum(amount), 0) FROM payments) AS total
FROM (SELECT coalesce((SELECT total FROM self), 0) AS total) AS p
"""


async def payments(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE payments (dt date, amount numeric)")
        await conn.execute(
            "INSERT INTO payments SELECT date '2013-01-01' + i, i FROM generate_series(0, 19) AS i"
        )


async def drained(world: World) -> int:
    """Plan and run until nothing is left to do; return the number of runs."""
    first = before = await runs(world)
    while True:
        planned = await world.plan()
        await work(world)
        if planned is None and await runs(world) == before:
            return before - first
        before = await runs(world)


async def runs(world: World) -> int:
    return len(await world.rows("SELECT FROM tasks WHERE status = 'succeeded'"))


async def balances(world: World) -> list[tuple[str, Decimal]]:
    rows = await world.rows("SELECT dt::text AS dt, total FROM balance ORDER BY dt")
    return [(row["dt"], row["total"]) for row in rows]


async def recomputed(world: World) -> list[tuple[str, Decimal]]:
    """The running balance of all days by a single query."""
    rows = await world.rows(
        "SELECT d::date::text AS dt, (SELECT coalesce(sum(amount), 0) FROM payments "
        "WHERE payments.dt <= d::date) AS total "
        "FROM generate_series('2013-01-01', '2013-01-20', interval '1 day') AS d ORDER BY dt"
    )
    return [(row["dt"], row["total"]) for row in rows]


async def made(database: Database, *jobs: dict[str, Any]) -> World:
    await payments(database)
    world = await World.made(
        database,
        source("payments"),
        *(jobs or (sql_job("balance", "payments", DAY_BEFORE, sql=BALANCE),)),
    )
    await world.change("payments", "2013-01-01..2013-01-20")
    return world


async def test_a_running_balance_is_that_of_a_single_query(database: Database) -> None:
    world = await made(database)

    assert await drained(world) == DAYS
    assert await balances(world) == await recomputed(world)


@pytest.mark.parametrize("seed", range(3))
async def test_after_random_changes_the_balance_is_that_of_a_single_query(
    database: Database, seed: int
) -> None:
    rng = random.Random(seed)
    world = await made(database)
    await drained(world)

    for _ in range(6):
        days = sorted(rng.sample(range(1, DAYS + 1), rng.randint(1, 3)))
        for day in days:
            # A pair of opposite payments leaves the balance of a day as it was.
            amounts = rng.choice(([5], [7, -7], [-3]))
            for amount in amounts:
                await world.rows(
                    "INSERT INTO payments VALUES (%s, %s) RETURNING 1",
                    f"2013-01-{day:02}",
                    amount,
                )
            await world.change("payments", f"2013-01-{day:02}")
        assert await drained(world) <= DAYS - days[0] + 1
        assert await balances(world) == await recomputed(world)
        async with world.conn() as conn:
            counts = await audit_all(conn, world.org)
        assert (counts.lost, counts.in_hand) == (0, 0)


async def test_a_change_without_effect_on_the_balance_stops(database: Database) -> None:
    world = await made(database)
    await drained(world)
    await world.rows(
        "INSERT INTO payments VALUES ('2013-01-05', 1), ('2013-01-05', -1) RETURNING 1"
    )

    await world.change("payments", "2013-01-05")

    assert await drained(world) == 1


async def test_the_lineage_of_the_own_columns_is_derived(database: Database) -> None:
    world = await made(database)

    rows = await world.rows(
        "SELECT output_column, input_column FROM column_lineage c "
        "JOIN datasets i ON i.id = c.input_dataset_uuid WHERE i.name = 'balance'"
    )

    assert ("total", "total") in {(row["output_column"], row["input_column"]) for row in rows}


async def test_the_balance_of_each_account_is_carried_on(database: Database) -> None:
    """The example of the how-to guide."""
    guide = Path(__file__).parents[3] / "docs/how-to/read-earlier-partitions.md"
    text = guide.read_text("utf-8").split("```yaml\n")[1].split("```")[0]
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE payments (dt date, account text, amount numeric)")
        await conn.execute(
            "INSERT INTO payments VALUES ('2026-01-01', 'a', 5), ('2026-01-01', 'b', 1), "
            "('2026-01-02', 'a', 2), ('2026-01-03', 'c', 4)"
        )
        world = World(database, OrgContext(await org_id(conn, "default")))
        await deploy(conn, world.org, [parse_dag(text, where="accounts.yaml")])
    await world.change("payments", "2026-01-01..2026-01-03")

    assert await drained(world) == 3
    rows = await world.rows("SELECT account, total FROM balance WHERE dt = '2026-01-03' ORDER BY 1")
    assert [tuple(row.values()) for row in rows] == [("a", 7), ("b", 1), ("c", 4)]


async def test_another_definition_starts_from_nothing(database: Database) -> None:
    world = await made(database)
    await drained(world)
    twice = BALANCE.replace("sum(amount)", "sum(amount * 2)").replace(
        "AS total\nFROM", "AS total, 'x' AS note\nFROM"
    )

    await world.deploy(source("payments"), sql_job("balance", "payments", DAY_BEFORE, sql=twice))

    assert await drained(world) == DAYS
    assert await balances(world) == [(dt, 2 * total) for dt, total in await recomputed(world)]


async def test_an_undetermined_type_is_reported(database: Database) -> None:
    select = "SELECT coalesce((SELECT note FROM self), 'first') || 'x' AS note"
    world = await made(database, sql_job("balance", "payments", DAY_BEFORE, sql=select))
    await world.plan()
    (lease,) = await world.claim()

    with pytest.raises(TaskFailed, match="cast the columns read from 'self'"):
        await run_lease(world, lease)
