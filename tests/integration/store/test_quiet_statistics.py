"""Statements on a few tasks do not read a whole wave if statistics were made at a quiet time.

The query planner then takes the indexes of queued, running and unfinished tasks for empty, and
would rather read one of them than look up a task by its id.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from engine.store.database import Connection, Database
from engine.store.queries import query
from tests.support.worlds import World, job, source

_WAVE = 5_000
_FEW = 20


_TASKS = b"""
INSERT INTO knockon.tasks (id, job_id, status, partitions, org_id, runtime, block_key, must_run,
                           lease_token, lease_expires_at, started_at)
SELECT (%(prefix)s::text || lpad(to_hex(n), 12, '0'))::uuid, j.id, %(status)s::text, ARRAY['p'],
    j.org_id, 'local', %(status)s::text || n, true, gen_random_uuid(), now(), now()
FROM (SELECT id, org_id FROM knockon.jobs LIMIT 1) AS j,
    generate_series(%(first)s::int, %(last)s::int) AS n
"""
_DEPENDENCIES = b"""
INSERT INTO knockon.task_dependencies (org_id, task_id, depends_on, datasets)
SELECT (SELECT org_id FROM knockon.jobs LIMIT 1),
    (%(prefix)s::text || lpad(to_hex(n), 12, '0'))::uuid,
    (%(blocker)s::text || lpad(to_hex(n), 12, '0'))::uuid, ARRAY[gen_random_uuid()]
FROM generate_series(%(first)s::int, %(last)s::int) AS n
"""
_INVALIDATIONS = b"""
INSERT INTO knockon.data_invalidations
    (id, org_id, dataset_uuid, dataset_version, scope, partition_key, reason, processed_at)
SELECT (%(prefix)s::text || lpad(to_hex(n), 12, '0'))::uuid, d.org_id, d.id, v.id, 'partition', 'p',
    'change', CASE WHEN %(done)s::bool THEN now() END
FROM knockon.datasets d JOIN knockon.dataset_versions v ON v.dataset_uuid = d.id AND d.name = 'a',
    generate_series(%(first)s::int, %(last)s::int) AS n
"""
_DONE, _QUEUED, _BLOCKED, _RUNNING = (f"00000000-0000-0000-{n:04x}-" for n in range(4))


async def _insert(conn: Connection, statement: bytes, first: int, last: int, **params: Any) -> None:
    await conn.execute(statement, {"first": first, "last": last, **params})


async def _insert_done(conn: Connection) -> None:
    await _insert(conn, _TASKS, 1, _WAVE, prefix=_DONE, status="succeeded")
    await _insert(conn, _INVALIDATIONS, 1, _WAVE, prefix=_DONE, done=True)


async def _insert_open(conn: Connection, first: int, last: int) -> None:
    for prefix, status in ((_QUEUED, "queued"), (_BLOCKED, "blocked"), (_RUNNING, "running")):
        await _insert(conn, _TASKS, first, last, prefix=prefix, status=status)
    await _insert(conn, _DEPENDENCIES, first, last, prefix=_BLOCKED, blocker=_RUNNING)
    await _insert(conn, _INVALIDATIONS, first, last, prefix=_QUEUED, done=False)


@pytest.fixture(params=[0, 2 * _FEW, _WAVE], ids=["none", "some", "all"])
async def world(request: pytest.FixtureRequest, database: Database) -> World:
    """A wave of work of one job; the statistics know finished work, and none or all of the wave."""
    world = await World.made(database, source("a"), job("b", "a"))
    async with world.conn() as conn:
        await _insert_done(conn)
        await _insert_open(conn, 1, request.param)
        await conn.execute(
            b"ANALYZE knockon.tasks, knockon.task_dependencies, knockon.data_invalidations"
        )
        await _insert_open(conn, request.param + 1, _WAVE)
    return world


def _few(prefix: str) -> list[UUID]:
    return [UUID(f"{prefix}{number:012x}") for number in range(1, _FEW + 1)]


_FEW_QUEUED, _FEW_BLOCKED, _FEW_RUNNING = map(_few, (_QUEUED, _BLOCKED, _RUNNING))
_EACH: dict[str, list[Any]] = {
    "lease_seconds": [1] * _FEW,
    "json": [Jsonb({})] * _FEW,
    "logs": [""] * _FEW,
    "changed": [True] * _FEW,
}
_STATEMENTS: dict[str, dict[str, Any]] = {
    "tasks.candidates": {"runtimes": ["local"], "served": None, "closed": [], "limit": _FEW},
    "tasks.lease": {
        "worker_id": "w",
        "ids": _FEW_QUEUED,
        "lease_seconds": _EACH["lease_seconds"],
        "input_versions": _EACH["json"],
    },
    "tasks.heartbeat": {
        "ids": _FEW_RUNNING,
        "tokens": _FEW_RUNNING,
        "lease_seconds": _EACH["lease_seconds"],
    },
    "tasks.lock_leased": {"ids": _FEW_RUNNING, "tokens": _FEW_RUNNING},
    "tasks.lock_running": {"id": _FEW_RUNNING[0], "token": _FEW_RUNNING[0]},
    "tasks.succeed": {
        "ids": _FEW_RUNNING,
        "outputs": _EACH["json"],
        "has_changed": _EACH["changed"],
        "logs": _EACH["logs"],
    },
    "tasks.lock_dependents": {"ended": _FEW_RUNNING},
    "tasks.triggered_dependents": {"ended": _FEW_RUNNING},
    "tasks.read_all_rows": {"ended": _FEW_RUNNING, "datasets": _FEW_RUNNING, "jobs": _FEW_RUNNING},
    "tasks.unblock": {"ids": _FEW_BLOCKED, "triggered": [], "changed": _FEW_RUNNING},
    "tasks.blocked_by": {"blockers": _FEW_RUNNING},
    "tasks.block_behind": {"ids": _FEW_QUEUED},
    "tasks.queue_stale": {"ids": _FEW_BLOCKED},
    "tasks.queue_first_runs": {"ids": _FEW_BLOCKED},
    "tasks.wait_for_inputs": {"id": _FEW_BLOCKED[0], "waiting_for": Jsonb({})},
    "tasks.reject": {"id": _FEW_QUEUED[0], "error": "e", "outcome": "o"},
    "tasks.give_up": {"id": _FEW_RUNNING[0], "error": "e", "outcome": "o"},
    "tasks.retry_later": {"id": _FEW_RUNNING[0], "error": "e", "backoff_seconds": 1},
    "tasks.cancel": {"ids": _FEW_QUEUED, "outcome": "o"},
    "tasks.lock_in_statuses": {"ids": _FEW_QUEUED, "statuses": ["queued"]},
    "tasks.trim": {"id": _FEW_QUEUED[0], "partitions": ["p"]},
    "invalidations.lock_open": {"limit": _FEW},
    "planning_attempts.next_batch": {"limit": _FEW},
    "attempts.record": {"id": _FEW_RUNNING[0], "outcome": "failed", "error": "e", "log": ""},
}


async def _rows_read(conn: Connection, statement: str, params: dict[str, Any]) -> int:
    """Run a statement, and return the rows read from tasks and dependencies, filtered ones too."""
    explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}".encode()
    async with conn.transaction(force_rollback=True):
        await conn.execute(b"SET LOCAL random_page_cost = 4")  # the server's default
        cursor = await conn.execute(explain, params)
        ((plan,),) = [row.values() for row in await cursor.fetchall()]
    return sum(map(_rows_of, _nodes(plan[0]["Plan"])))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _rows_of(node: dict[str, Any]) -> int:
    removed = ("Rows Removed by Filter", "Rows Removed by Join Filter")
    read = node["Actual Rows"] if "Scan" in node["Node Type"] else 0
    return node["Actual Loops"] * (read + sum(node.get(name, 0) for name in removed))


async def test_statements_on_a_few_rows_read_a_few_rows(world: World) -> None:
    read = {}
    async with world.conn() as conn:
        for name, params in _STATEMENTS.items():
            org = {"org_id": world.org.id}
            read[name] = await _rows_read(conn, query(name), org | params)
    assert {name: rows for name, rows in read.items() if rows >= 20 * _FEW} == {}


async def test_a_plan_for_a_few_blocks_reads_their_tasks(world: World) -> None:
    (row,) = await world.rows("SELECT job_id FROM tasks LIMIT 1")
    blocks = [f"queued{number}" for number in range(1, _FEW + 1)]
    params = {"jobs": [str(row["job_id"])] * _FEW, "block_keys": blocks}
    async with world.conn() as conn:
        assert await _rows_read(conn, query("tasks.lock_unfinished"), params) < 20 * _FEW


@pytest.mark.parametrize("world", [0], indirect=True)
async def test_a_statement_that_reads_the_wave_would_be_noticed(world: World) -> None:
    statement = query("tasks.cancel").replace(' COLLATE "C"', "")
    params = {"ids": _FEW_QUEUED, "outcome": "o"}
    async with world.conn() as conn:
        assert await _rows_read(conn, statement, params) > _WAVE
