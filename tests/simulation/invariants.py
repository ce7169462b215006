"""What holds after every step, asked in SQL of the tables themselves."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from engine.store.database import Connection

_TASKS = b"""
WITH t AS (SELECT * FROM tasks WHERE org_id = %(org)s
           AND status IN ('blocked', 'queued', 'running', 'failed'))
SELECT 'two unstarted tasks for one partition' AS law, a.id::text || ' ' || b.id AS what
FROM t a JOIN t b ON a.job_id = b.job_id AND a.id < b.id AND a.partitions && b.partitions
WHERE a.status IN ('blocked', 'queued') AND b.status IN ('blocked', 'queued')
UNION ALL
SELECT 'two running tasks for one partition', a.id::text || ' ' || b.id
FROM t a JOIN t b ON a.job_id = b.job_id AND a.id < b.id AND a.partitions && b.partitions
WHERE a.status = 'running' AND b.status = 'running'
UNION ALL
SELECT 'a queued task with something open in front', t.id::text
FROM t WHERE t.status = 'queued' AND EXISTS (
    SELECT FROM task_dependencies d JOIN t f ON f.id = d.depends_on WHERE d.task_id = t.id)
UNION ALL
SELECT 'a blocked task with nothing in front that does not say why', t.id::text
FROM t WHERE t.status = 'blocked' AND t.waiting_for IS NULL AND NOT EXISTS (
    SELECT FROM task_dependencies d JOIN t f ON f.id = d.depends_on WHERE d.task_id = t.id)
UNION ALL
SELECT 'an unfinished task of a job that is not served', t.id::text
FROM t JOIN jobs j ON j.id = t.job_id
LEFT JOIN dag_current_versions c ON c.dag_version_id = j.dag_version_id
WHERE c.dag_version_id IS NULL
UNION ALL
SELECT 'a processed fact without a plan', i.id::text FROM data_invalidations i
WHERE i.org_id = %(org)s AND i.processed_at IS NOT NULL AND i.plan_id IS NULL
  AND i.outcome IS DISTINCT FROM 'not_current'
UNION ALL
SELECT 'an event that was not understood', e.error FROM dead_letters e WHERE e.org_id = %(org)s
UNION ALL
SELECT 'tasks that wait for each other', t.id::text
FROM t JOIN task_dependencies d ON d.task_id = t.id AND d.depends_on = t.id
"""

_STAMPS = b"""
SELECT d.name, p.dataset_version, p.partition_key, p.materialized_at
FROM partition_versions p JOIN datasets d ON d.id = p.dataset_uuid WHERE d.org_id = %(org)s
"""

_CURSORS = b"""
SELECT d.name, j.name AS job, c.dataset_version, c.job_id, c.cursor_value::bigint AS value
FROM dataset_cursors c JOIN datasets d ON d.id = c.dataset_uuid JOIN jobs j ON j.id = c.job_id
WHERE d.org_id = %(org)s
"""

_POSITIONS = b"""
SELECT consumer, stream, position::bigint AS position FROM consumer_positions
WHERE org_id = %(org)s
"""


class Broken(AssertionError):
    """A law does not hold; ``law`` names it."""

    def __init__(self, law: str, what: object) -> None:
        super().__init__(f"{law}: {what}")
        self.law = law


class Invariants:
    """Remembers what only may rise."""

    def __init__(self, org: UUID) -> None:
        self._org = org
        self._stamps: dict[Any, Any] = {}
        self._cursors: dict[Any, int] = {}
        self._positions: dict[Any, int] = {}

    async def check(self, conn: Connection) -> None:
        """Raises Broken."""
        for row in await _fetch(conn, _TASKS, self._org):
            raise Broken(row["law"], row["what"])
        stamps = {
            (row["name"], row["dataset_version"], row["partition_key"]): row["materialized_at"]
            for row in await _fetch(conn, _STAMPS, self._org)
        }
        _only_rises("stamps only rise", self._stamps, stamps)
        cursors = {
            (row["name"], row["dataset_version"], row["job_id"]): row["value"]
            for row in await _fetch(conn, _CURSORS, self._org)
        }
        _only_rises("cursors only move forward", self._cursors, {**self._cursors, **cursors})
        positions = {
            (row["consumer"], row["stream"]): row["position"]
            for row in await _fetch(conn, _POSITIONS, self._org)
        }
        _only_rises("positions only move forward", self._positions, positions)
        self._stamps, self._cursors, self._positions = stamps, cursors, positions


def _only_rises(law: str, before: dict[Any, Any], after: dict[Any, Any]) -> None:
    for key, value in before.items():
        if key not in after or after[key] < value:
            raise Broken(law, (key, value, after.get(key)))


async def _fetch(conn: Connection, text: bytes, org: UUID) -> list[dict[str, Any]]:
    cursor = await conn.execute(text, {"org": org})
    return await cursor.fetchall()
