"""Secrets of processes: not inherited by jobs, not shown, not stored."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.cli.conftest import Knockon

SECRET = "hunter2.hunter2"
OTHER = "swordfish/@: swordfish"
CODE = """
import os, subprocess, sys
def run(context, key):
    shown = subprocess.run(["env"], capture_output=True, text=True).stdout
    raise RuntimeError(f"key {key} of {dict(os.environ)} and {shown}")
"""


def _dag() -> dict[str, Any]:
    def job(name: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "inputs": ["orders"], "outputs": [{"dataset": name}], **more}

    return {
        "dag": "w",
        "jobs": [
            {
                "name": "src",
                "activation": "source",
                "source": {"kind": "manual"},
                "outputs": [{"dataset": "orders"}],
            },
            job(
                "shell",
                operator="shell",
                max_attempts=1,
                config={
                    "command": "env >&2; exit 3",
                    "env": {"GIVEN": "yes", "KEY": "a-${KEY}-z"},
                },
            ),
            job(
                "python",
                operator="python",
                max_attempts=1,
                config={"callable": "shows:run", "kwargs": {"key": "${KEY}"}},
            ),
        ],
    }


def test_jobs_inherit_no_settings_and_secrets_are_not_stored(
    knockon: Knockon, tmp_path: Path, database_url: str
) -> None:
    (tmp_path / "dag.yaml").write_text(json.dumps(_dag()))
    (tmp_path / "shows.py").write_text(CODE)
    path = f"{tmp_path}:{knockon.env.get('PYTHONPATH', '')}"
    own = knockon.env | {
        "PYTHONPATH": path,
        "KNOCKON_SECRET_KEY": OTHER,
        "KNOCKON_KAFKA_SASL_PASSWORD": SECRET,
        "PGPASSFILE": "/none",
        "KNOCKON_LOG_LEVEL": "debug",
    }
    full = Knockon(own)
    full("deploy", tmp_path / "dag.yaml")
    full("invalidate", "orders")
    lines: list[str] = []
    with (
        full.running("engine", until="engine is up"),
        full.running("worker", until="worker is up") as worker,
    ):
        lines += worker.wait_for("task failed")
        while sum("task failed" in line for line in lines) < 2:
            lines += worker.wait_for("task failed")
    with psycopg.connect(database_url) as conn:
        errors = dict(
            conn.execute(
                "SELECT j.name, t.error_message FROM knockon.tasks t"
                " JOIN knockon.jobs j ON j.id = t.job_id"
            ).fetchall()
        )
        tables = conn.execute(
            "SELECT quote_ident(table_name) FROM information_schema.tables"
            " WHERE table_schema = 'knockon'"
        ).fetchall()
        everything = "".join(
            str(conn.execute(f"SELECT t::text FROM knockon.{table} t").fetchall())  # type: ignore[arg-type]
            for (table,) in tables
        )
    assert "GIVEN=yes" in errors["shell"]
    assert "KEY=a-***-z" in errors["shell"]
    assert "KNOCKON_JOB=shell" in errors["shell"]
    assert "PATH=" in errors["shell"]
    assert "PGPASSFILE" not in errors["shell"]
    assert "key ***" in errors["python"]
    for name in ("KNOCKON_DATABASE_URL", "KNOCKON_SECRET_KEY", "KNOCKON_KAFKA"):
        assert name not in errors["shell"]
        assert name not in errors["python"]
    assert SECRET not in everything
    assert OTHER not in everything
    assert OTHER not in "".join(lines)


def test_an_unset_secret_is_named(knockon: Knockon, tmp_path: Path) -> None:
    (tmp_path / "dag.yaml").write_text(json.dumps(_dag()))
    (tmp_path / "shows.py").write_text(CODE)
    path = f"{tmp_path}:{knockon.env.get('PYTHONPATH', '')}"
    without = Knockon(knockon.env | {"PYTHONPATH": path})
    without("deploy", tmp_path / "dag.yaml")
    without("invalidate", "orders")
    with (
        without.running("engine", until="engine is up"),
        without.running("worker", until="KNOCKON_SECRET_KEY in the environment"),
    ):
        pass


UNREADABLE = f"postgres//user:{SECRET}@127.0.0.1/db"


@pytest.mark.parametrize(
    ("command", "url", "code"),
    [
        (["status"], UNREADABLE, 1),
        (["status"], f"postgresql://user:{SECRET}%zz@127.0.0.1:1/db", 1),
        (["status"], f"postgresql://user:{SECRET}@127.0.0.1:1/db", 1),
        (["doctor"], UNREADABLE, 1),
        (["attach", "t", "--dataset", "orders"], UNREADABLE, 1),
        (["psql"], UNREADABLE, 1),
        (["psql"], f"host=127.0.0.1 port=1 password={SECRET}", 2),
    ],
)
def test_no_message_repeats_a_password(
    knockon: Knockon, command: list[str], url: str, code: int
) -> None:
    variable = "KNOCKON_SOURCE_URL" if command[0] == "attach" else "KNOCKON_DATABASE_URL"
    done = Knockon(knockon.env | {variable: url})(*command, code=code)
    assert "hunter2" not in done.out + done.err


def test_doctor_lists_stored_versions_with_a_secret(
    knockon: Knockon, tmp_path: Path, database_url: str
) -> None:
    file = tmp_path / "dag.yaml"
    file.write_text(json.dumps(_dag()))
    (tmp_path / "shows.py").write_text(CODE)
    own = {"PYTHONPATH": f"{tmp_path}:{knockon.env.get('PYTHONPATH', '')}"}
    full = Knockon(knockon.env | own)
    full("deploy", file)
    assert _check(full, "secrets")["verdict"] == "ok"
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(
            "UPDATE knockon.jobs SET config = jsonb_set(config, '{env,KEY}', to_jsonb(%s::text))"
            " WHERE name = 'shell'",
            [f"postgresql://me:{SECRET}@db/x"],
        )
    found = _check(full, "secrets")
    assert found["verdict"] == "warn"
    assert "1 stored version of w " in found["detail"]
    assert "deploy w with ${NAME}" in found["remedy"]
    file.write_text(json.dumps({**_dag(), "description": "another version"}))
    full("deploy", file)
    found = _check(full, "secrets")
    assert "1 stored version of w " in found["detail"]
    assert SECRET not in json.dumps(found)


def _check(knockon: Knockon, name: str) -> dict[str, str]:
    (found,) = (each for each in knockon("doctor", "--json").json if each["name"] == name)
    return dict(found)
