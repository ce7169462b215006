"""Databases with Knockon's tables in `public` become current, with every row."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from engine.errors import InvalidInput
from engine.planner import path_to
from engine.store.migrate import migrate

_LAYOUT = (Path(__file__).parent / "layouts" / "in_public.sql").read_bytes()
_MIGRATIONS = b"""
CREATE TABLE knockon_migrations (
    version int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now());
INSERT INTO knockon_migrations (version, name, checksum) VALUES (1, 'schema', 'of that time');
"""
_ROWS = b"""
SELECT nextval('lineage_epochs'), nextval('lineage_epochs');
UPDATE orgs SET lineage_epoch = 2, settings = '{"blast_radius": 7}';
INSERT INTO dag_versions (id, org_id, dag_name, yaml_hash, content)
SELECT '00000000-0000-0000-0000-000000000001', id, 'shop', 'h', '{}' FROM orgs;
INSERT INTO dag_current_versions (org_id, dag_name, dag_version_id)
SELECT org_id, dag_name, id FROM dag_versions;
INSERT INTO jobs (id, org_id, name, dag_name, dag_version_id, activation, runtime, operator,
    execution_strategy, config_hash, update_strategy, scaling, learns, holds)
SELECT '00000000-0000-0000-0000-000000000002', org_id, 'daily', dag_name, id, 'reactive', 'local',
    'sql', 'PerPartition', 'h', 'replace', '{"max_concurrency": 3}',
    '{tasks}', true FROM dag_versions;
INSERT INTO datasets (id, org_id, name, producer_dag_name, producer_job_name)
SELECT v.id::uuid, o.id, v.name, 'shop', 'daily'
FROM orgs o, (VALUES ('00000000-0000-0000-0000-000000000003', 'orders'),
                     ('00000000-0000-0000-0000-000000000004', 'tasks')) AS v (id, name);
INSERT INTO dataset_versions (id, dataset_uuid, config_hash) SELECT id, id, 'h' FROM datasets;
INSERT INTO dag_version_datasets (dag_version_id, dataset_uuid, dataset_version)
SELECT v.id, d.id, d.id FROM dag_versions v, datasets d;
INSERT INTO column_lineage
SELECT '00000000-0000-0000-0000-000000000004', 'total', '00000000-0000-0000-0000-000000000003',
    'amount', '00000000-0000-0000-0000-000000000002';
INSERT INTO tasks (id, job_id, status, org_id, runtime, slot, hit)
SELECT gen_random_uuid(), j.id, 'queued', j.org_id, 'local', '*', true FROM jobs j;
INSERT INTO partition_versions (dataset_uuid, dataset_version, partition_key, materialized_at,
    column_stamps)
SELECT id, id, '*', '2026-01-02T03:04:05.678901Z', '{"*": "2026-01-02T03:04:05.678901Z"}'
FROM datasets;
CREATE TABLE orders (amount int);
"""
_DROPPED = {"is_narrow", "is_doubtful"}
_RENAMED = {
    "learns": "accepts_reported_lineage",
    "holds": "waits_for_inputs",
    "hit": "must_run",
    "slot": "block_key",
    "column_stamps": "column_versions",
    "held_by": "exceeded_limits",
}
_TABLES = ("orgs", "dag_versions", "jobs", "datasets", "column_lineage", "tasks",
           "partition_versions", "dag_version_datasets")  # fmt: skip


@pytest.fixture
def old_database_url(empty_database_url: str) -> str:
    """Address of a database in the old layout, at work."""
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute("SET search_path = public")
        for text in (_LAYOUT, _MIGRATIONS, _ROWS):
            conn.execute(text)
    return empty_database_url


async def test_every_row_is_kept(old_database_url: str) -> None:
    before = _rows(old_database_url, "public")
    assert (await migrate(old_database_url))[0] == "0001_schema"
    assert await migrate(old_database_url) == []
    after = _rows(old_database_url, "knockon")
    for table, rows in before.items():
        assert rows, table
        columns = rows[0].keys() - _DROPPED
        kept = [{key: row[_RENAMED.get(key, key)] for key in columns} for row in after[table]]
        was = [{key: row[key] for key in columns} for row in rows]
        assert sorted(kept, key=repr) == sorted(was, key=repr)


async def test_the_content_of_dropped_columns_is_converted(old_database_url: str) -> None:
    with psycopg.connect(old_database_url, autocommit=True) as conn:
        conn.execute("UPDATE public.tasks SET is_narrow = true")
        conn.execute("UPDATE public.partition_versions SET is_doubtful = true, fingerprint = 'f'")
    await migrate(old_database_url)
    after = _rows(old_database_url, "knockon")
    assert {str(row["propagated"]) for row in after["tasks"]} == {"{}"}
    assert {row["fingerprint"] for row in after["partition_versions"]} == {None}


async def test_plans_pending_approval_stay_pending(old_database_url: str) -> None:
    with psycopg.connect(old_database_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO public.plans (id, org_id, lineage_epoch, invalidation_ids, document, "
            "state, held_by) SELECT gen_random_uuid(), id, 1, '{}', '{}', 'held', 'a limit' "
            "FROM public.orgs"
        )
        conn.execute(
            "INSERT INTO public.data_invalidations (id, org_id, dataset_uuid, dataset_version, "
            "scope, reason, outcome) SELECT gen_random_uuid(), org_id, id, id, 'dataset', "
            "'change', 'held' FROM public.datasets"
        )
    await migrate(old_database_url)
    with psycopg.connect(old_database_url) as conn:
        plans = conn.execute("SELECT state, exceeded_limits FROM knockon.plans").fetchall()
        outcomes = conn.execute(
            "SELECT DISTINCT outcome FROM knockon.data_invalidations"
        ).fetchall()
    assert plans == [("pending_approval", "a limit")]
    assert outcomes == [("pending_approval",)]


async def test_outcomes_of_invalidations_have_the_current_names(old_database_url: str) -> None:
    with psycopg.connect(old_database_url, autocommit=True) as conn:
        for outcome in ("planned", "hits nothing", "held", None):
            conn.execute(
                "INSERT INTO public.data_invalidations "
                "(id, org_id, dataset_uuid, dataset_version, scope, reason, outcome) "
                "SELECT gen_random_uuid(), org_id, id, id, 'dataset', 'change', %s "
                "FROM public.datasets WHERE name = 'orders'",
                [outcome],
            )
    await migrate(old_database_url)
    with psycopg.connect(old_database_url) as conn:
        rows = conn.execute("SELECT outcome FROM knockon.data_invalidations ORDER BY 1").fetchall()
    assert [outcome for (outcome,) in rows] == [
        "affects_nothing",
        "pending_approval",
        "planned",
        None,
    ]


async def test_the_document_of_a_plan_can_be_explained(old_database_url: str) -> None:
    job = "00000000-0000-0000-0000-000000000002"
    hop = {"dataset": "orders", "causes": 0}
    step = {"job": job, "name": "daily", "partitions": ["*"], "direct": "all", "via": [0]}
    old = {"steps": [step], "hops": [hop], "pruned": [], "stamps": {}, "causes": [["first"]]}
    with psycopg.connect(old_database_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO public.plans (id, org_id, lineage_epoch, invalidation_ids, document) "
            "SELECT gen_random_uuid(), id, 1, '{}', %s FROM public.orgs",
            [Jsonb(old)],
        )
    await migrate(old_database_url)
    with psycopg.connect(old_database_url) as conn:
        ((document,),) = conn.execute("SELECT document FROM knockon.plans").fetchall()
    assert [hop["invalidations"] for hop in path_to(document, job)] == [["first"]]
    assert document["steps"][0]["directly_invalidated"] == "all"
    assert document.keys() == {
        "steps", "hops", "pruned", "changed_partitions", "invalidation_sets"
    }  # fmt: skip


async def test_the_last_run_of_a_single_run_job_is_recorded(
    old_database_url: str,
) -> None:
    with psycopg.connect(old_database_url, autocommit=True) as conn:
        conn.execute(
            "UPDATE public.partition_versions SET config_hash = 'h', "
            "task_id = (SELECT id FROM public.tasks) WHERE dataset_uuid IN "
            "(SELECT id FROM public.datasets WHERE name = 'orders')"
        )
        conn.execute("UPDATE public.jobs SET execution_strategy = 'Full'")
    await migrate(old_database_url)
    with psycopg.connect(old_database_url) as conn:
        runs = conn.execute(
            "SELECT name, task_id = (SELECT id FROM knockon.tasks), config_hash, is_partly_written "
            "FROM knockon.single_runs JOIN knockon.datasets ON datasets.id = dataset_uuid"
        ).fetchall()
    assert runs == [("orders", True, "h", False)]


async def test_the_schema_equals_that_of_a_new_database(
    old_database_url: str, database_url: str
) -> None:
    await migrate(old_database_url)
    assert _columns(old_database_url) == _columns(database_url)


async def test_tables_of_the_user_are_kept(old_database_url: str) -> None:
    await migrate(old_database_url)
    with psycopg.connect(old_database_url) as conn:
        found = conn.execute(
            "SELECT nspname, relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE relname = 'orders' OR nspname = 'knockon_before'"
        )
        assert found.fetchall() == [("public", "orders")]


async def test_lineage_epochs_are_never_reused(old_database_url: str) -> None:
    await migrate(old_database_url)
    with psycopg.connect(old_database_url) as conn:
        assert conn.execute("SELECT nextval('knockon.lineage_epochs')").fetchone() == (3,)


async def test_a_dependent_view_of_the_user_prevents_the_upgrade(
    old_database_url: str,
) -> None:
    with psycopg.connect(old_database_url) as conn:
        conn.execute("CREATE VIEW public.mine AS SELECT name FROM public.datasets")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist) as refused:
        await migrate(old_database_url)
    assert "mine" in str(refused.value.diag.message_detail)
    assert _rows(old_database_url, "public")["datasets"]


@pytest.fixture
def stranger(postgres_url: str) -> Iterator[str]:
    """A role with no rights except login, dropped with its objects."""
    name = f"stranger_{uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        conn.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(name)))
    yield name
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        conn.execute(SQL("DROP ROLE {}").format(Identifier(name)))


@pytest.fixture
def open_database_url(empty_database_url: str, stranger: str) -> Iterator[str]:
    """Address of an empty database in which the stranger can create tables in `public`."""
    role = Identifier(stranger)
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute(SQL("GRANT CREATE ON SCHEMA public TO {}").format(role))
    yield empty_database_url
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute(SQL("DROP OWNED BY {} CASCADE").format(role))


_CAST = b"""
CREATE TYPE public.trap AS (a int);
CREATE FUNCTION public.spring(public.trap) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER ROLE %I SUPERUSER', '@ROLE@');
    RETURN 'sprung';
END $$;
CREATE CAST (public.trap AS text) WITH FUNCTION public.spring(public.trap) AS ASSIGNMENT;
ALTER TABLE public.orgs ADD COLUMN slug public.trap DEFAULT ROW(1)::public.trap;
"""


async def test_tables_of_another_role_are_not_upgraded(
    open_database_url: str, stranger: str
) -> None:
    with psycopg.connect(make_conninfo(open_database_url, user=stranger)) as conn:
        conn.execute("SET search_path = public")
        conn.execute(_LAYOUT)
        conn.execute(_MIGRATIONS)
        conn.execute("ALTER TABLE orgs DROP COLUMN slug CASCADE")
        conn.execute(_CAST.replace(b"@ROLE@", stranger.encode()))
    with pytest.raises(InvalidInput, match=f"belongs to role {stranger}.*migrate as that role"):
        await migrate(open_database_url)
    with psycopg.connect(open_database_url) as conn:
        role = conn.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", [stranger])
        assert role.fetchone() == (False,)


async def test_one_table_of_another_role_prevents_the_upgrade(
    old_database_url: str, open_database_url: str, stranger: str
) -> None:
    with psycopg.connect(old_database_url, autocommit=True) as conn:
        conn.execute(SQL("ALTER TABLE public.jobs OWNER TO {}").format(Identifier(stranger)))
    with pytest.raises(InvalidInput, match=r"public\.jobs is named like .* belongs to role"):
        await migrate(old_database_url)
    assert _rows(old_database_url, "public")["datasets"]


async def test_a_user_other_than_the_owner_is_referred_to_the_owner(
    old_database_url: str, stranger: str
) -> None:
    with psycopg.connect(old_database_url, autocommit=True) as conn:
        grant = SQL("GRANT CREATE ON DATABASE {} TO {}")
        conn.execute(grant.format(Identifier(conn.info.dbname), Identifier(stranger)))
    url = make_conninfo(old_database_url, user=stranger)
    with pytest.raises(InvalidInput, match=r"must be owner of .*migrate as the role that owns"):
        await migrate(url)
    with psycopg.connect(old_database_url, autocommit=True) as conn:
        conn.execute(SQL("DROP OWNED BY {} CASCADE").format(Identifier(stranger)))


async def test_an_owner_without_superuser_rights_upgrades_its_tables(
    open_database_url: str, stranger: str
) -> None:
    role = Identifier(stranger)
    with psycopg.connect(open_database_url, autocommit=True) as conn:
        grant = SQL("GRANT CREATE ON DATABASE {} TO {}")
        conn.execute(grant.format(Identifier(conn.info.dbname), role))
    url = make_conninfo(open_database_url, user=stranger)
    with psycopg.connect(url) as conn:
        conn.execute("SET search_path = public")
        for text in (_LAYOUT, _MIGRATIONS, _ROWS):
            conn.execute(text)
    assert (await migrate(url))[0] == "0001_schema"


def _rows(url: str, schema: str) -> dict[str, list[dict[str, object]]]:
    with psycopg.connect(url) as conn:
        query = "SELECT to_jsonb(t) FROM {}.{} AS t ORDER BY to_jsonb(t)::text"
        return {
            name: [
                row
                for (row,) in conn.execute(
                    psycopg.sql.SQL(query).format(*map(psycopg.sql.Identifier, (schema, name)))
                )
            ]
            for name in _TABLES
        }


def _columns(url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(
            "SELECT table_name, column_name, data_type, column_default, is_nullable "
            "FROM information_schema.columns WHERE table_schema = 'knockon' ORDER BY 1, 2"
        ).fetchall()
