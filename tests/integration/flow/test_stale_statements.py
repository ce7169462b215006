"""The statements for staleness read only the requested partitions."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from engine.store.database import Database
from engine.store.queries import query
from tests.support.worlds import World, job, source

_TASKS = 20
_LARGE = {"partition_versions", "task_inputs"}
_HISTORY = """
    WITH versions AS (
        INSERT INTO partition_versions
            (org_id, dataset_uuid, dataset_version, partition_key, materialized_at)
        SELECT d.org_id, d.id, c.dataset_version, n::text, now()
        FROM datasets d JOIN current_datasets c ON c.dataset_uuid = d.id,
             generate_series(1, 20000) AS n WHERE d.name = 'a'
    )
    INSERT INTO task_inputs
        (org_id, task_id, input_dataset_uuid, input_partition_key, input_version)
    SELECT d.org_id, md5(n::text)::uuid, d.id, (n + back)::text, now()
    FROM datasets d, generate_series(1, 20000) AS n, generate_series(0, 6) AS back
    WHERE d.name = 'a' RETURNING 1 AS one
"""


async def _steps_of(world: World, name: str, **params: Any) -> list[dict[str, Any]]:
    """The executed steps of a statement's plan."""
    async with world.conn() as conn:
        await conn.execute("ANALYZE")
        text = f"EXPLAIN (ANALYZE, FORMAT JSON) {query(name)}"
        (row,) = await (await conn.execute(text.encode(), params)).fetchall()
    return list(_steps(row["QUERY PLAN"][0]["Plan"]))


async def _tasks(world: World) -> list[UUID]:
    listed = "SELECT md5(n::text)::uuid AS id FROM generate_series(1, %s) AS n"
    return [row["id"] for row in await world.rows(listed, _TASKS)]


def _steps(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _steps(child)


def _assert_reads_at_most(rows: int, steps: list[dict[str, Any]]) -> None:
    """The large tables are read by index, and no step reads or compares more rows."""
    read = [each for each in steps if each.get("Relation Name") in _LARGE]
    assert len(read) == 2
    assert all(each["Node Type"] != "Seq Scan" for each in read), read
    for each in steps:
        assert each["Actual Loops"] * each["Actual Rows"] <= rows, each
        assert each.get("Rows Removed by Join Filter", 0) == 0, each


async def test_only_required_partitions_are_compared_with_recorded_inputs(
    database: Database,
) -> None:
    weekly = {"dataset": "a", "mapping": {"dt": {"from": "dt", "window": [-6, 0]}}}
    world = await World.made(database, source("a"), job("b", weekly))
    await world.rows(_HISTORY)
    (a,) = await world.rows(
        "SELECT c.* FROM current_datasets c JOIN datasets d ON d.id = c.dataset_uuid"
        " WHERE d.name = 'a'"
    )
    tasks = await _tasks(world)
    needed = [(n, str(n + back)) for n in range(1, _TASKS + 1) for back in range(7)]
    steps = await _steps_of(
        world,
        "stale.unrecorded_inputs",
        first_tasks=[n for n, _ in needed],
        last_tasks=[n for n, _ in needed],
        datasets=[a["dataset_uuid"] for _ in needed],
        versions=[a["dataset_version"] for _ in needed],
        keys=[key for _, key in needed],
        tasks=tasks,
    )
    _assert_reads_at_most(len(needed), steps)


async def test_only_recorded_inputs_are_compared_with_existing_partitions(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.rows(_HISTORY)
    (b,) = await world.rows("SELECT id FROM jobs WHERE name = 'b'")
    tasks = await _tasks(world)
    steps = await _steps_of(
        world,
        "stale.changed_inputs",
        tasks=tasks,
        jobs=[b["id"] for _ in tasks],
        reads="[]",
    )
    _assert_reads_at_most(7 * len(tasks), steps)
