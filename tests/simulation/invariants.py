"""Invariants checked after every step by SQL on the engine's tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

from engine.store.database import Connection

PLANNER_CRASHED = "%% attempts to plan it alone were interrupted%%"
"""Pattern of the error of an invalidation that was set aside after several crashes."""
_LAWS = f"""
WITH t AS MATERIALIZED (
    SELECT id, job_id, partitions, status, waiting_for FROM tasks
    WHERE org_id = %(org)s AND status IN ('blocked', 'queued', 'running', 'failed')
), waiting AS MATERIALIZED (
    SELECT d.task_id FROM t JOIN task_dependencies d ON d.depends_on = t.id
)
SELECT 'two unstarted tasks for one partition' AS law, a.id::text || ' ' || b.id AS subject
FROM t a JOIN t b ON a.job_id = b.job_id AND a.id < b.id AND a.partitions && b.partitions
WHERE a.status IN ('blocked', 'queued') AND b.status IN ('blocked', 'queued')
UNION ALL
SELECT 'two running tasks for one partition', a.id::text || ' ' || b.id
FROM t a JOIN t b ON a.job_id = b.job_id AND a.id < b.id AND a.partitions && b.partitions
WHERE a.status = 'running' AND b.status = 'running'
UNION ALL
SELECT 'a queued task with an unfinished blocker', id::text
FROM t WHERE status = 'queued' AND id IN (SELECT task_id FROM waiting)
UNION ALL
SELECT 'a blocked task with neither a blocker nor missing inputs', id::text
FROM t WHERE status = 'blocked' AND waiting_for IS NULL
    AND NOT %(mends)s  -- an audit at rest unblocks it
    AND id NOT IN (SELECT task_id FROM waiting)
UNION ALL
SELECT 'a task that is not blocked waits for inputs', id::text
FROM t WHERE status <> 'blocked' AND waiting_for IS NOT NULL
UNION ALL
SELECT 'an unfinished task of a job that is not deployed', t.id::text
FROM t JOIN jobs j ON j.id = t.job_id
LEFT JOIN dag_current_versions c ON c.dag_version_id = j.dag_version_id
WHERE c.dag_version_id IS NULL
UNION ALL
SELECT 'more running tasks of a job than its limit', j.name
FROM t JOIN jobs j ON j.id = t.job_id WHERE t.status = 'running'
GROUP BY j.id HAVING count(*) > j.max_concurrency
UNION ALL
SELECT 'a processed invalidation without a plan', i.id::text FROM data_invalidations i
WHERE i.org_id = %(org)s AND i.processed_at IS NOT NULL AND i.plan_id IS NULL
    AND i.outcome IS DISTINCT FROM 'not_current'
UNION ALL
SELECT 'an open invalidation of a plan that is not pending', i.id::text
FROM data_invalidations i JOIN plans p ON p.id = i.plan_id
WHERE i.org_id = %(org)s AND i.processed_at IS NULL AND p.state <> 'pending_approval'
UNION ALL
SELECT 'a valid event was rejected', e.error FROM dead_letters e
WHERE e.org_id = %(org)s
    -- removed by a deploy; otherwise the first law detects the missing event
    AND e.error NOT LIKE 'there is no dataset %%' AND e.error NOT LIKE '%% is out of bounds; %%'
    AND e.error NOT LIKE '%% is not among the keys; %%'
    -- removed by a sweep; an event of a replaced version has no effect and is published again
    AND e.error NOT LIKE 'dataset %% has no version %%'
    AND NOT e.position = ANY(%(unusable)s)
UNION ALL
SELECT 'a rejected message counts as replayed', e.error FROM dead_letters e
WHERE e.org_id = %(org)s AND e.replayed_at IS NOT NULL AND e.position = ANY(%(unusable)s)
UNION ALL
SELECT 'two plans pending approval for an invalidation', p.invalidation::text
FROM (SELECT unnest(invalidation_ids) AS invalidation FROM plans
      WHERE org_id = %(org)s AND state = 'pending_approval') AS p
GROUP BY p.invalidation HAVING count(*) > 1
UNION ALL
SELECT 'an invalidation that cannot be planned', i.planning_error FROM data_invalidations i
WHERE i.org_id = %(org)s AND i.planning_error IS NOT NULL
    -- set aside after crashes; replayed at rest
    AND i.planning_error NOT LIKE '{PLANNER_CRASHED}'
UNION ALL
SELECT 'a task that cannot be leased', f.error_message FROM tasks f
WHERE f.org_id = %(org)s AND f.status = 'failed' AND f.outcome LIKE 'its inputs cannot%%'
UNION ALL
SELECT 'a task depends on itself', d.task_id::text
FROM t JOIN task_dependencies d ON d.task_id = t.id AND d.depends_on = t.id
"""

_VERSIONS = """
SELECT p.dataset_version || ' ' || p.partition_key AS subject,
       (extract(epoch FROM p.materialized_at) * 1000000)::bigint AS value
FROM datasets d JOIN partition_versions p ON p.dataset_uuid = d.id WHERE d.org_id = %(org)s
"""

_COLUMNS = """
SELECT p.dataset_version || ' ' || p.partition_key || ' ' || f.key AS subject,
       jsonb_build_array(f.value, extract(epoch FROM greatest(
           knockon.content_version_of(p.materialized_at, p.column_versions, ARRAY[f.key]),
           (SELECT max((c ->> 'at')::timestamptz)
            FROM jsonb_array_elements(coalesce(p.row_changes, '[]')) AS c
            WHERE c -> 'scope' -> 'columns' IN ('null') OR c -> 'scope' -> 'columns' ? f.key))))
       AS value
FROM datasets d JOIN partition_versions p ON p.dataset_uuid = d.id
CROSS JOIN jsonb_each_text(p.column_fingerprints) AS f WHERE d.org_id = %(org)s
"""

_CURSORS = """
SELECT concat_ws(' ', c.dataset_version, c.job_id, o.dataset_version) AS subject,
       c.cursor_value::bigint AS value
FROM datasets d JOIN dataset_cursors c ON c.dataset_uuid = d.id
JOIN jobs j ON j.id = c.job_id
-- a new version of the output starts from the beginning, and so does a job deployed again
JOIN current_datasets o ON o.org_id = d.org_id AND o.name = j.output_datasets[1]
    AND o.dag_version_id = j.dag_version_id
WHERE d.org_id = %(org)s
"""

_POSITIONS = """
SELECT consumer || ' ' || stream AS subject,
       CASE WHEN consumer IN ('appears', 'schedule')
            THEN (extract(epoch FROM position::timestamptz) * 1000000)::bigint
            ELSE position::bigint END AS value
FROM consumer_positions WHERE org_id = %(org)s
"""


def _object(rows: str) -> str:
    return f"(SELECT coalesce(jsonb_object_agg(subject, value), '{{}}') FROM ({rows}) AS r)"


_ALL = f"""
SELECT (SELECT jsonb_agg(jsonb_build_array(law, subject)) FROM ({_LAWS}) AS l) AS broken,
       {_object(_VERSIONS)} AS versions, {_object(_COLUMNS)} AS columns,
       {_object(_CURSORS)} AS cursors,
       ARRAY(SELECT v.id::text FROM datasets d JOIN dataset_versions v ON v.dataset_uuid = d.id
             WHERE d.org_id = %(org)s) AS kept,
       {_object(_POSITIONS)} AS positions
""".encode()


class Broken(AssertionError):
    """Violation of a law; ``law`` is its name."""

    def __init__(self, law: str, details: object) -> None:
        super().__init__(f"{law}: {details}")
        self.law = law


def law_of(failure: Exception | None) -> str:
    """Return the violated law, or the type of the error."""
    return failure.law if isinstance(failure, Broken) else repr(type(failure))


class Invariants:
    """Invariants, with the last observed values of monotonic quantities."""

    def __init__(
        self,
        org: UUID,
        unusable: Collection[int],
        removed: set[str] | None = None,
        *,
        is_mending: bool,
    ) -> None:
        self._org = org
        self._removed = set() if removed is None else removed
        self._is_mending = is_mending
        self._unusable = unusable
        self._before: dict[str, dict[str, int]] = {"versions": {}, "cursors": {}, "positions": {}}
        self._columns: dict[str, tuple[str, float]] = {}

    async def check(self, conn: Connection) -> None:
        """Check all invariants. Raises Broken."""
        unusable = [str(position) for position in self._unusable]
        params = {"org": self._org, "unusable": unusable, "mends": self._is_mending}
        cursor = await conn.execute(_ALL, params)
        row = await cursor.fetchone()
        assert row is not None
        for law, subject in row["broken"] or ():
            raise Broken(law, subject)
        for subject in self._removed:
            self._before["versions"].pop(subject, None)
        self._removed.clear()
        # A sweep removes whole dataset versions.
        kept = frozenset(row["kept"])
        versions = {
            subject: value
            for subject, value in self._before["versions"].items()
            if subject.partition(" ")[0] in kept
        }
        _check_monotonic("content versions never decrease", versions, row["versions"])
        _check_new_versions(self._columns, row["columns"])
        self._columns = row["columns"]
        # A deploy transfers a cursor to the job's new row.
        cursors = self._before["cursors"] | row["cursors"]
        _check_monotonic("cursors never move back", self._before["cursors"], cursors)
        _check_monotonic("positions never move back", self._before["positions"], row["positions"])
        self._before = {
            "versions": row["versions"],
            "cursors": cursors,
            "positions": row["positions"],
        }


def _check_monotonic(law: str, before: dict[str, int], after: dict[str, int]) -> None:
    for key, value in before.items():
        if key not in after or after[key] < value:
            raise Broken(law, (key, value, after.get(key)))


def _check_new_versions(
    before: Mapping[str, tuple[str, float]], after: Mapping[str, tuple[str, float]]
) -> None:
    for column, (content, version) in after.items():
        previous, version_before = before.get(column, (content, version))
        if previous != content and version <= version_before:
            raise Broken("a changed column has a new version", column)
