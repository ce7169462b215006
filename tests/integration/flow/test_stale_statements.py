"""The statements behind the definition of stale read no more than they are asked about."""

from collections.abc import Iterator
from typing import Any

from engine.store.database import Database
from engine.store.queries import query
from tests.support.worlds import World, job, source

_TASKS = 100
_HISTORY = """
    WITH versions AS (
        INSERT INTO partition_versions
            (dataset_uuid, dataset_version, partition_key, materialized_at)
        SELECT d.id, c.dataset_version, n::text, now()
        FROM datasets d JOIN current_datasets c ON c.dataset_uuid = d.id,
             generate_series(1, 20000) AS n WHERE d.name = 'a'
    )
    INSERT INTO task_inputs (task_id, input_dataset_uuid, input_partition_key, input_version)
    SELECT md5(n::text)::uuid, d.id, (n + back)::text, now()
    FROM datasets d, generate_series(1, 20000) AS n, generate_series(0, 6) AS back
    WHERE d.name = 'a' RETURNING 1 AS one
"""


async def _scans_of(world: World, name: str, **params: Any) -> list[dict[str, Any]]:
    """The scans of tables that a statement makes, as they were run."""
    async with world.conn() as conn:
        await conn.execute("ANALYZE")
        text = f"EXPLAIN (ANALYZE, FORMAT JSON) {query(name)}"
        (row,) = await (await conn.execute(text.encode(), params)).fetchall()
    return [
        scan for scan in _scans(row["QUERY PLAN"][0]["Plan"]) if scan["Relation Name"] in _LARGE
    ]


_LARGE = {"partition_versions", "task_inputs"}


def _scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "Relation Name" in node:
        yield node
    for child in node.get("Plans", ()):
        yield from _scans(child)


def _rows(scans: list[dict[str, Any]]) -> float:
    return sum(scan["Actual Loops"] * scan["Actual Rows"] for scan in scans)


async def test_only_needed_partitions_are_compared_with_what_runs_have_read(
    database: Database,
) -> None:
    weekly = {"dataset": "a", "mapping": {"dt": {"from": "dt", "window": [-6, 0]}}}
    world = await World.made(database, source("a"), job("b", weekly))
    await world.rows(_HISTORY)
    (a,) = await world.rows(
        "SELECT c.* FROM current_datasets c JOIN datasets d ON d.id = c.dataset_uuid"
        " WHERE d.name = 'a'"
    )
    tasks = [row["id"] for row in await world.rows(
        "SELECT DISTINCT task_id AS id FROM task_inputs WHERE input_partition_key::int <= 100"
    )]  # fmt: skip
    needed = [(n, str(n + back)) for n in range(1, _TASKS + 1) for back in range(7)]
    scans = await _scans_of(
        world,
        "stale.unrecorded_inputs",
        groups=[n for n, _ in needed],
        datasets=[a["dataset_uuid"] for _ in needed],
        versions=[a["dataset_version"] for _ in needed],
        keys=[key for _, key in needed],
        run_groups=list(range(1, len(tasks) + 1)),
        tasks=tasks,
    )
    assert len(scans) == 2
    assert all(scan["Node Type"] != "Seq Scan" for scan in scans), scans
    assert _rows(scans) <= 2 * len(needed)


async def test_only_the_inputs_of_the_runs_are_compared_with_what_exists(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.rows(_HISTORY)
    (b,) = await world.rows("SELECT id FROM jobs WHERE name = 'b'")
    tasks = [row["id"] for row in await world.rows(
        "SELECT DISTINCT task_id AS id FROM task_inputs WHERE input_partition_key::int <= 100"
    )]  # fmt: skip
    scans = await _scans_of(
        world,
        "stale.changed_inputs",
        tasks=tasks,
        jobs=[b["id"] for _ in tasks],
        reads="[]",
    )
    assert len(scans) == 2
    assert all(scan["Node Type"] != "Seq Scan" for scan in scans), scans
    assert _rows(scans) <= 2 * 7 * len(tasks)
