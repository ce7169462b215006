"""A database of the first schema, with work in every state, gets the tables of the history."""

from pathlib import Path
from shutil import copy
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from engine.model.states import TaskStatus
from engine.store.migrate import migrate
from engine.store.migration_files import migrations_dir

_ROWS = (
    "INSERT INTO dag_versions (id, org_id, dag_name, yaml_hash, content) "
    "SELECT %(id)s, id, 'd', 'h', '{}' FROM orgs",
    "INSERT INTO jobs (id, org_id, name, dag_name, dag_version_id, activation, runtime, operator, "
    "execution_strategy, config_hash, update_strategy) SELECT %(id)s, id, 'b', 'd', %(id)s, "
    "'reactive', 'local', 'sql', 'PerPartition', 'h', 'replace' FROM orgs",
    "INSERT INTO datasets (id, org_id, name, producer_dag_name, producer_job_name) "
    "SELECT %(id)s, id, 'b', 'd', 'b' FROM orgs",
    "INSERT INTO dataset_versions (id, dataset_uuid, config_hash) VALUES (%(id)s, %(id)s, 'h')",
    "INSERT INTO tasks (id, job_id, status, org_id, runtime, block_key, must_run, lease_token, "
    "lease_expires_at) SELECT gen_random_uuid(), %(id)s, s, o.id, 'local', s, true, %(id)s, now() "
    "FROM orgs o, jsonb_array_elements_text(%(statuses)s) AS s",
    "INSERT INTO data_invalidations (id, org_id, dataset_uuid, dataset_version, scope, reason, "
    "idempotency_key, request_hash) SELECT lpad(n, 32, '0')::uuid, o.id, %(id)s, %(id)s, "
    "'dataset', 'manual', key, 'hash' FROM orgs o, "
    "unnest('{1,2,3,4}'::text[], '{a#0,a#1,x#3#0,NULL}'::text[]) AS v (n, key)",
)


@pytest.fixture
def first_schema_url(empty_database_url: str, tmp_path: Path) -> str:
    copy(migrations_dir() / "0001_schema.sql", tmp_path)
    return empty_database_url


async def test_work_is_kept_and_the_keys_of_requests_are_found(
    first_schema_url: str, tmp_path: Path
) -> None:
    assert await migrate(first_schema_url, tmp_path) == ["0001_schema"]
    params = {"id": UUID(int=9), "statuses": Jsonb([*TaskStatus])}
    with psycopg.connect(first_schema_url, autocommit=True) as conn:
        conn.execute("SET search_path = knockon")
        for row in _ROWS:
            conn.execute(row.encode(), params)
    assert "0002_history" in await migrate(first_schema_url)
    with psycopg.connect(first_schema_url) as conn:
        tasks = conn.execute("SELECT status, job_name FROM knockon.all_tasks").fetchall()
        keys = conn.execute(
            "SELECT key, request_hash, invalidation_ids FROM knockon.idempotency_keys ORDER BY key"
        ).fetchall()
        count = conn.execute("SELECT count(*) FROM knockon.all_invalidations").fetchone()
    assert sorted(tasks) == sorted((status, "b") for status in TaskStatus)
    assert keys == [
        ("a", "hash", [UUID(int=1), UUID(int=2)]),
        ("x#3", "hash", [UUID(int=3)]),
    ]
    assert count == (4,)


async def test_keys_of_requests_written_during_an_upgrade_are_found(
    empty_database_url: str, tmp_path: Path
) -> None:
    """Code older than the table of keys could run until 0017."""
    for file in migrations_dir().iterdir():
        if file.name < "0017":
            copy(file, tmp_path)
    await migrate(empty_database_url, tmp_path)
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute("SET search_path = knockon")
        for row in _ROWS:
            conn.execute(row.encode(), {"id": UUID(int=9), "statuses": Jsonb(["queued"])})
        conn.execute(
            "INSERT INTO idempotency_keys (org_id, key, request_hash, invalidation_ids) "
            "SELECT id, 'x#3', 'new', ARRAY[%s::uuid] FROM orgs",
            [UUID(int=3)],
        )
    await migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as conn:
        keys = conn.execute(
            "SELECT key, request_hash, invalidation_ids FROM knockon.idempotency_keys ORDER BY key"
        ).fetchall()
    assert keys == [("a", "hash", [UUID(int=1), UUID(int=2)]), ("x#3", "new", [UUID(int=3)])]
