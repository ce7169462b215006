"""The live schema against the owner's contract, docs/reference/erd.md, column by column."""

import re
from pathlib import Path

import psycopg
import pytest

from engine.store.database import Database

CONTRACT = Path(__file__).parents[3] / "docs" / "reference" / "erd.md"
TYPES = {"timestamptz": "timestamp with time zone", "int": "integer"}
KEYS = """
    SELECT tc.table_name, tc.constraint_type, kcu.column_name
    FROM information_schema.table_constraints tc
    JOIN information_schema.key_column_usage kcu USING (constraint_schema, constraint_name)
    WHERE tc.table_schema = 'knockon'
"""
COLUMNS = """
    SELECT c.relname AS table_name, a.attname AS column_name,
           format_type(a.atttypid, a.atttypmod) AS type
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'knockon'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
"""


def contract() -> list[tuple[str, str, str, str]]:
    """(table, column, type, key) for every line of the contract; key is PK, FK, UK or empty."""
    found = []
    for table, body in re.findall(
        r"^ {4}([A-Z_]+) \{\n(.*?)\n {4}\}", CONTRACT.read_text(), re.S | re.M
    ):
        for line in body.splitlines():
            type_, column, *key = line.split()
            found.append((table.lower(), column, type_, key[0] if key else ""))
    return found


def test_the_contract_names_sixteen_tables() -> None:
    assert len({table for table, *_ in contract()}) == 16


async def test_every_column_has_its_name_and_type(database: Database) -> None:
    live = {
        (row["table_name"], row["column_name"]): row["type"]
        for row in await _rows(database, COLUMNS)
    }
    wanted = {(table, column): _type(type_) for table, column, type_, _ in contract()}
    assert {place: live.get(place) for place in wanted} == wanted


@pytest.mark.parametrize(
    ("mark", "kind"), [("PK", "PRIMARY KEY"), ("UK", "UNIQUE"), ("FK", "FOREIGN KEY")]
)
async def test_every_declared_key_is_a_constraint(database: Database, mark: str, kind: str) -> None:
    rows = await _rows(database, KEYS)
    live = {(r["table_name"], r["column_name"]) for r in rows if r["constraint_type"] == kind}
    wanted = {(table, column) for table, column, _, key in contract() if key == mark}
    assert wanted - live == set()


async def test_primary_keys_are_no_wider_than_the_contract(database: Database) -> None:
    rows = await _rows(database, KEYS)
    tables = {table for table, *_ in contract()}
    live = {
        (r["table_name"], r["column_name"])
        for r in rows
        if r["constraint_type"] == "PRIMARY KEY" and r["table_name"] in tables
    }
    assert live == {(table, column) for table, column, _, key in contract() if key == "PK"}


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO users (org_id, external_id, email, role) "
        "SELECT id, 'x', 'x', 'owner' FROM orgs",
        "INSERT INTO dag_versions (org_id, dag_name, yaml_hash, content) "
        "SELECT id, 'd', NULL, '{}' FROM orgs",
        "UPDATE tasks_probe SET status = 'done'",
        "UPDATE invalidations_probe SET scope = 'some'",
        "UPDATE invalidations_probe SET reason = 'because'",
        "UPDATE jobs_probe SET activation = 'eager'",
        "UPDATE jobs_probe SET execution_strategy = 'PerRow'",
        "UPDATE jobs_probe SET update_strategy = 'merge'",
    ],
)
async def test_closed_vocabularies_have_checks(database: Database, statement: str) -> None:
    async with database.connection() as conn:
        for probe, table in (
            ("tasks", "tasks"),
            ("invalidations", "data_invalidations"),
            ("jobs", "jobs"),
        ):
            await conn.execute(
                f"CREATE TEMP TABLE {probe}_probe "
                f"(LIKE {table} INCLUDING CONSTRAINTS INCLUDING DEFAULTS)".encode()
            )
            await conn.execute(_one_row(probe).encode())
        with pytest.raises(psycopg.errors.IntegrityError):
            await conn.execute(statement.encode())


def _one_row(probe: str) -> str:
    ids = "gen_random_uuid()"
    return {
        "tasks": "INSERT INTO tasks_probe (id, job_id, status, partitions, input_versions,"
        " attempts, outputs, created_at, org_id, runtime, priority, block_key, must_run,"
        " row_filters, plan_ids)"
        f" VALUES ({ids}, {ids}, 'queued', '{{}}', '{{}}', 0, '[]', now(), {ids}, 'local', 0,"
        " '*', true, '[]', '{}')",
        "invalidations": "INSERT INTO invalidations_probe (id, dataset_uuid, dataset_version,"
        " scope, reason, source_event, created_at, processed_by, org_id, events)"
        f" VALUES ({ids}, {ids}, {ids}, 'dataset', 'change', '{{}}', now(), '{{}}', {ids}, 1)",
        "jobs": "INSERT INTO jobs_probe (id, org_id, name, dag_name, dag_version_id, activation,"
        " runtime, operator, execution_strategy, config, config_hash, input_datasets,"
        " output_datasets, update_strategy, unique_key, scaling, max_attempts, created_at,"
        " updated_at, inputs, waits_for_inputs, accepts_reported_lineage)"
        f" VALUES ({ids}, {ids}, 'j', 'd', {ids}, 'reactive', 'local', 'sql', 'PerPartition',"
        " '{}', 'h', '{}', '{}', 'replace', '{}', '{}', 3, now(), now(), '[]', false, '{}')",
    }[probe]


def _type(name: str) -> str:
    plain = name.removesuffix("[]")
    return TYPES.get(plain, plain) + name[len(plain) :]


async def _rows(database: Database, statement: str) -> list[dict[str, str]]:
    async with database.connection() as conn:
        return await (await conn.execute(statement.encode())).fetchall()
