"""Statements of daily use read growing tables by an index, never as a whole."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from psycopg.types.json import Jsonb

from engine.flow.retention.archive import archive
from engine.flow.retention.publish import publish
from engine.store.database import Connection, Database
from engine.store.queries import query
from tests.support.worlds import World, job, source

_GROWING = (
    "tasks_history",
    "events",
    "task_attempts",
    "plans_history",
    "data_invalidations_history",
    "dead_letters_history",
    "partition_versions",
    "task_inputs",
    "task_dependencies",
    "stale_decisions",
    "idempotency_keys",
    "dag_deploys",
    "sessions",
    "removed_users",
)
_ID, _KEY = UUID(int=7), "2013-02-13"
_STATEMENTS: dict[str, dict[str, Any]] = {
    "tasks.list": {
        "statuses": None, "job": None, "dag": None, "partition": None, "limit": 20, "before": _ID,
        "hidden": None,
    },
    "tasks.by_id": {"id": _ID},
    "tasks.inputs": {"id": _ID},
    "tasks.blockers": {"id": _ID},
    "tasks.counts": {},
    "tasks.retried": {"id": _ID},
    "tasks.newer": {"id": _ID, "dag": "shop", "job": "b", "partitions": [_KEY]},
    "tasks.candidates": {"runtimes": ["local"], "served": None, "closed": [], "limit": 20},
    "tasks.lock_dependents": {"ended": [_ID]},
    "tasks.unblock": {"ids": [_ID], "triggered": [], "changed": [_ID]},
    "sessions.by_hash": {"hash": b"x"},
    "sessions.of_user": {"user_id": _ID},
    "sessions.expire": {},
    "users.person": {"person": "x"},
    "attempts.of_task": {"task": _ID, "number": None},
    "attempts.summaries": {"task": _ID},
    "history.attempts_of_archived_tasks": {"seconds": 60, "limit": 20},
    "orgs.count_tasks": {"statuses": ["queued", "running"], "most": 20},
    "orgs.stored_log_bytes": {},
    "orgs.lock_full_month": {"most": 20},
    "orgs.drop_logs": {
        "month": datetime(2026, 12, 1, tzinfo=UTC), "excess": 20, "limit": 20, "note": "",
    },
    "events.after": {"after": 7, "kinds": None, "limit": 20},
    "events.newest": {"kinds": None, "limit": 20, "before": 7},
    "events.newest_position": {},
    "events.expired_to": {},
    "neighbourhood.tasks": {"jobs": [_ID], "most": 20},
    "neighbourhood.evidence": {"datasets": [_ID], "versions": [_ID], "most": 20},
    "search.tasks": {
        "first": _ID, "last": _ID, "ending": "abcdef12", "hidden": None, "limit": 20,
    },
    "search.invalidations": {
        "first": _ID, "last": _ID, "ending": "abcdef12", "hidden": None, "limit": 20,
    },
    "search.plans": {"first": _ID, "last": _ID, "ending": "abcdef12", "limit": 20},
    "views.progress": {"ids": [_ID]},
    "views.tasks_of_plans": {"plans": [_ID]},
    "views.obstacles": {"ids": [_ID]},
    "views.awaited_tasks": {"ids": [_ID]},
    "views.awaited_invalidations": {"ids": [_ID]},
    "views.lately_served": {"seconds": 30},
    "views.waiting_runtimes": {"seconds": 30},
    "views.task_ids": {"ending": "abcdef12", "hidden": None},
    "views.plan_ids": {"ending": "abcdef12"},
    "views.invalidation_ids": {"ending": "abcdef12", "hidden": None},
    "views.dead_letter_ids": {"ending": "abcdef12", "streams": None},
    "views.stuck": {"limit": 20, "hidden": None},
    "views.workers": {},
    "views.open_invalidations": {},
    "views.invalidations_of_version": {"dag_version_id": _ID},
    "views.skipped_over": {
        "plans": [_ID], "ends": [_ID], "partition": _KEY, "job": "b", "dag": "shop",
    },
    "versions.deploys": {"dag": None, "limit": 20, "before": 7, "hidden": None},
    "versions.file": {"dag": "w", "number": 7},
    "sweeps.dag_versions": {"days": 30, "limit": 1},
    "sweeps.finished_tasks": {"dag_version_id": _ID, "limit": 20},
    "sweeps.dataset_versions": {"days": 30, "removed": [], "limit": 1},
    "sweeps.partitions": {"dataset": _ID, "version": _ID, "limit": 20},
    "sweeps.single_runs": {"dataset": _ID, "version": _ID},
    "sweeps.delete_inputs": {"tasks": [_ID], "limit": 20},
    "sweeps.delete_partitions": {"dataset": _ID, "version": _ID, "keys": [_KEY]},
    "sweeps.delete_decisions": {"dataset": _ID, "version": _ID, "limit": 20},
    "sweeps.sizes": {"datasets": [_ID], "versions": [_ID]},
    "plans.list": {"states": None, "limit": 20, "before": _ID},
    "plans.whole": {"id": _ID},
    "plans.by_ids": {"ids": [_ID]},
    "plans.touching": {"datasets": [_ID], "limit": 20},
    "plans.costs": {"datasets": [_ID], "sample": 20},
    "invalidations.list": {
        "dataset": "a", "open": False, "set_aside": False, "limit": 20, "before": _ID,
        "hidden": None,
    },
    "invalidations.by_ids": {"ids": [_ID]},
    "invalidations.by_keys": {"keys": ["k"]},
    "invalidations.lock_open": {"limit": 20},
    "dead_letters.list": {"all": True, "limit": 20, "before": _ID, "streams": None},
    "visibility.plans": {"ids": [_ID]},
    "lineage.accepting_datasets": {"indexes": [0], "firsts": [_ID], "lasts": [_ID]},
    "stale.changed_inputs": {"jobs": [_ID], "tasks": [_ID], "reads": Jsonb([])},
    "stale.decisions": {"dataset": _ID, "version": _ID, "keys": None},
    "partitions.existing_among": {"dataset": _ID, "version": _ID, "keys": [_KEY]},
    "partitions.known": {
        "dataset": _ID, "version": _ID, "producer": _ID, "first_output": _ID, "first_version": _ID,
    },
}  # fmt: skip
_VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("tasks.list", {"statuses": ["failed"]}),
    ("tasks.list", {"job": "b", "partition": _KEY}),
    ("tasks.list", {"partition": _KEY}),
    ("plans.list", {"states": ["pending_approval"]}),
    ("invalidations.list", {"open": True}),
    ("versions.deploys", {"dag": "w"}),
    ("tasks.list", {"hidden": ["w.b"]}),
    ("views.task_ids", {"hidden": ["w.b"]}),
    ("invalidations.list", {"hidden": [_ID]}),
    ("dead_letters.list", {"streams": ["kafka/a"]}),
    ("views.stuck", {"hidden": [_ID]}),
    ("search.tasks", {"hidden": ["w.b"]}),
    ("search.invalidations", {"hidden": [_ID]}),
]
_CASES = [*((name, {}) for name in _STATEMENTS), *_VARIANTS]


@pytest.fixture
async def world(database: Database) -> World:
    """A chain that has worked, with all of its work in the history."""
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", _KEY)
    await world.run()
    async with world.conn() as conn:
        await archive(conn, world.org, 0)
        await publish(conn)
        await conn.execute(
            b"SELECT knockon.add_history_partition('knockon.dead_letters_history', now())"
        )
    return world


async def _plan(conn: Connection, name: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return the plan that uses indexes wherever they serve, as for large tables."""
    async with conn.transaction():
        for method in ("seqscan", "hashjoin", "mergejoin"):
            await conn.execute(f"SET LOCAL enable_{method} = off".encode())
        cursor = await conn.execute(f"EXPLAIN (FORMAT JSON) {query(name)}".encode(), params)
        ((plan,),) = [row.values() for row in await cursor.fetchall()]
    return plan[0]["Plan"]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _reads_all(node: dict[str, Any]) -> bool:
    if not node.get("Relation Name", "").startswith(_GROWING):
        return False
    return node["Node Type"] == "Seq Scan" or (
        node["Node Type"] in ("Index Scan", "Index Only Scan") and "Index Cond" not in node
    )


@pytest.mark.parametrize(("name", "variant"), _CASES)
async def test_no_growing_table_is_read_as_a_whole(
    world: World, name: str, variant: dict[str, Any]
) -> None:
    params = {"org_id": world.org.id, **_STATEMENTS[name], **variant}
    async with world.conn() as conn:
        plan = await _plan(conn, name, params)
    wholes = [node for node in _nodes(plan) if _reads_all(node)]
    assert wholes == [], msgspec.json.encode(wholes)


_UNINDEXED_REFERENCES = """
SELECT f.conrelid::regclass::text AS table, f.conname AS name FROM pg_constraint f
WHERE f.contype = 'f' AND f.confrelid = ANY (ARRAY[
        'knockon.dag_versions', 'knockon.dataset_versions', 'knockon.jobs']::regclass[])
  AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = f.conrelid AND i.indpred IS NULL
                  AND i.indisvalid AND i.indkey[0] = ANY (f.conkey))
"""


async def test_rows_that_refer_to_a_version_or_a_job_are_found_by_an_index(world: World) -> None:
    assert await world.rows(_UNINDEXED_REFERENCES) == []
    async with world.conn() as conn:
        await conn.execute(b"DROP INDEX knockon.tasks_job")
    assert [row["table"] for row in await world.rows(_UNINDEXED_REFERENCES)] == ["tasks"]


async def test_the_tasks_of_one_org_are_counted_by_an_index(world: World) -> None:
    params = {"org_id": world.org.id, **_STATEMENTS["orgs.count_tasks"]}
    async with world.conn() as conn:
        plan = await _plan(conn, "orgs.count_tasks", params)
    (scan,) = [node for node in _nodes(plan) if node.get("Relation Name") == "tasks"]
    assert scan["Index Name"] == "tasks_unfinished"
    assert "org_id =" in scan["Index Cond"]
    assert "status =" in scan["Index Cond"]


async def test_a_table_without_an_index_would_be_noticed(world: World) -> None:
    async with world.conn() as conn:
        await conn.execute(b"DROP INDEX knockon.tasks_history_id_ending")
        params = {"org_id": uuid4(), **_STATEMENTS["views.task_ids"]}
        await conn.execute(b"DROP INDEX knockon.tasks_history_org")
        await conn.execute(b"DROP INDEX knockon.tasks_history_job")
        plan = await _plan(conn, "views.task_ids", params)
    assert any(_reads_all(node) for node in _nodes(plan))
