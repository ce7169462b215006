"""Control characters in data from outside, in the output of commands."""

import json
import subprocess
import sys
from typing import Any

import psycopg
import pytest

from engine.store.ids import new_id
from tests.acceptance.cli.conftest import Knockon

NASTY = "[bold]x\x1b]0;owned\x07\x1b[2J\x9b1m\u202etxt\u2066\r\x7f"
UNSAFE = ("\x1b", "\x07", "\x9b", "\u202e", "\u2066", "\r", "\x7f")

DAG: dict[str, Any] = {
    "dag": "w",
    "jobs": [
        {
            "name": "src",
            "activation": "source",
            "source": {"kind": "postgres", "table": "orders"},
            "outputs": [
                {"dataset": "orders", "partitioning": {"k": {"dynamic": True}}, "columns": ["a"]}
            ],
        },
        {
            "name": "copy",
            "description": NASTY.replace("\r", ""),
            "operator": "shell",
            "config": {"command": ["echo", NASTY]},
            "inputs": ["orders"],
            "outputs": [{"dataset": "copy", "partitioning": {"k": {"dynamic": True}}}],
        },
    ],
}

COMMANDS = [
    ["status"],
    ["tasks"],
    ["tasks", "--status", "failed"],
    ["invalidations"],
    ["invalidations", "--set-aside"],
    ["plans"],
    ["dead-letters"],
    ["lineage", "orders", "--columns"],
    ["explain", "copy", "key" + NASTY],
    ["explain", NASTY],
    ["explain", "TASK"],
    ["plans", "show", "PLAN"],
    ["dead-letters", "show", "LETTER"],
    ["dead-letters", "replay", "LETTER"],
    ["dead-letters", "discard", "LETTER", "--reason", NASTY, "--by", NASTY],
    ["dead-letters", "--with-done"],
    ["impact", "orders", "-p", "key" + NASTY],
    ["impact", "orders", "-c", NASTY],
    ["tasks", "retry", NASTY],
    ["doctor"],
    ["status", "--org", NASTY],
    ["status", NASTY],
    [NASTY],
    ["--" + NASTY],
    ["deploy", "/no/" + NASTY],
    ["audit"],
    ["audit", NASTY],
    ["audit", "copy"],
    ["verify"],
    ["verify", NASTY],
    ["verify", "--sample", NASTY],
    ["tasks", "show", "TASK"],
    ["events"],
    ["events", "--kind", NASTY],
    ["logs", "TASK"],
    ["logs", NASTY],
    ["logs", "TASK", "--attempt", NASTY],
    ["tasks", "cancel", "TASK"],
    ["tasks", "cancel", NASTY],
    ["apply", NASTY],
    ["approve", NASTY, "--by", NASTY],
    ["reject", "PLAN", "--by", NASTY],
    ["plans", "show", NASTY],
    ["invalidate", "orders", "-p", "key" + NASTY, "--note", NASTY],
    ["invalidate", NASTY],
    ["invalidations", "replay", NASTY],
    ["dead-letters", "show", NASTY],
    ["lineage", NASTY],
    ["org", "show", "--org", NASTY],
    ["org", "set", NASTY, NASTY],
    ["attach", NASTY, "--dataset", "orders"],
    ["attach", "orders", "--dataset", NASTY, "--partition", NASTY],
    ["detach", NASTY, "--dataset", NASTY],
    ["forget", NASTY],
    ["grant", NASTY, NASTY, "read"],
    ["grant", "default", NASTY, "read"],
    ["grant", "default", NASTY, NASTY],
    ["revoke", "default", NASTY],
    ["validate", "NASTY_FILE"],
    ["deploy", "NASTY_FILE"],
    ["deploy", "NASTY_FILE", "--dry-run"],
    ["consume", "--from", NASTY],
    ["run", NASTY],
    ["status", "--log-level", NASTY],
    ["status", "--kafka", NASTY],
    ["status", "--database-url", f"host=127.0.0.1 port=1 dbname='{NASTY}'"],
    ["status", "--database-url", f"postgresql://127.0.0.1:1/{NASTY}"],
]


@pytest.fixture
def nasty(knockon: Knockon, database_url: str, tmp_path: Any) -> tuple[Knockon, dict[str, str]]:
    """A world with control characters in every text from outside."""
    file = tmp_path / "dag.yaml"
    file.write_text(json.dumps(DAG))
    knockon("deploy", file)
    knockon("invalidate", "orders", "-p", "key" + NASTY)
    knockon("invalidate", "orders", "-p", "other")
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO dead_letters (id, org_id, consumer, stream, position, payload, headers,"
            " error) SELECT %s, id, %s, %s, '1', %s, %s, %s FROM orgs",
            [new_id(), NASTY, NASTY, NASTY.encode(), json.dumps({NASTY: NASTY}), NASTY],
        )
        with knockon.running("engine", until="engine is up"):
            while conn.execute("SELECT count(*) < 2 FROM tasks").fetchone() == (True,):
                conn.execute("SELECT pg_sleep(0.05)")
        conn.execute(
            "UPDATE tasks SET status = 'failed', error_message = %(t)s, outcome = %(t)s,"
            " worker_id = %(t)s, started_at = now(), completed_at = now()",
            {"t": NASTY},
        )
        conn.execute(
            "INSERT INTO task_attempts (task_id, number, org_id, worker_id, started_at, ended_at,"
            " outcome, error_message, log) SELECT id, 1, org_id, worker_id, now(), now(), 'failed',"
            " %(t)s, %(t)s FROM tasks",
            {"t": NASTY},
        )
        conn.execute("UPDATE plans SET decided_by = %(t)s, decided_at = now()", {"t": NASTY})
        conn.execute(
            "UPDATE data_invalidations SET columns = ARRAY[%(t)s],"
            " planning_error = %(t)s, set_aside_at = now(),"
            " source_event = source_event || jsonb_build_object('note', %(t)s::text)",
            {"t": NASTY},
        )
        conn.execute("UPDATE orgs SET name = %s", [NASTY])
        bad = tmp_path / "nasty.yaml"
        bad.write_text(json.dumps({"dag": "w", NASTY: NASTY, "jobs": [{"name": NASTY}]}))
        ids = {
            name: str(conn.execute(f"SELECT max(id::text) FROM {table}").fetchone()[0])  # type: ignore[index]
            for name, table in {"TASK": "tasks", "PLAN": "plans", "LETTER": "dead_letters"}.items()
        } | {"NASTY_FILE": str(bad)}
    return knockon, ids


# One process for all of them, since starting it takes longer than any.
_RUN = """
import json, sys
from engine.cli import main
for args in json.load(sys.stdin):
    for more in ([], ["--json"]):
        print("---", ascii(args), more, flush=True)
        sys.argv = ["knockon", *args, *more]
        try:
            main()
        except SystemExit:
            pass
        sys.stdout.flush()
"""


def test_no_command_prints_control_characters(
    nasty: tuple[Knockon, dict[str, str]],
) -> None:
    knockon, ids = nasty
    lines = [[ids.get(each, each) for each in line] for line in COMMANDS]
    done = subprocess.run(
        [sys.executable, "-c", _RUN],
        input=json.dumps(lines).encode(),
        env=knockon.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    )
    shown = done.stdout.decode().split("--- ")[1:]
    assert len(shown) == 2 * len(COMMANDS)
    assert [text for text in shown if any(each in text for each in UNSAFE)] == []
    # Most of them do show it.
    forms = "\u241b]0;owned", "\\u001b]0;owned", "\\x1b]0;owned"
    pictures = [any(form in text for form in forms) for text in shown]
    assert sum(pictures) > len(COMMANDS)
