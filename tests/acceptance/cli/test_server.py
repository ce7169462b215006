"""The same commands on the database, and through a server: results and messages are equal."""

import io
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
import pytest

from engine.cli import main
from engine.store.ids import new_id
from tests.acceptance.cli.conftest import Knockon, Result, environment

# Three processes start for each test, on a machine that may be shared.
pytestmark = pytest.mark.timeout(600)
ANN, BEA = "ann@example.com", "bea@example.com"
DAYS = "2026-02-01..2026-02-03"


def shell_job(name: str, reads: str, dataset: str, command: str) -> dict[str, Any]:
    partitioning = {"dt": {"time": "day", "start": "2026-02-01"}}
    return {
        "name": name,
        "operator": "shell",
        "max_attempts": 1,
        "config": {"command": ["sh", "-c", command]},
        "inputs": [reads],
        "outputs": [{"dataset": dataset, "partitioning": partitioning}],
    }


def source(dataset: str) -> dict[str, Any]:
    return {
        "name": f"src_{dataset}",
        "activation": "source",
        "source": {"kind": "manual"},
        "outputs": [
            {
                "dataset": dataset,
                "partitioning": {"dt": {"time": "day", "start": "2026-02-01"}},
                "columns": ["amount", "notes"],
            }
        ],
    }


DAG = {
    "dag": "shop",
    "jobs": [
        source("orders"),
        source("returns"),
        shell_job("sales", "orders", "sales", "echo sold"),
        shell_job("broken", "returns", "broken", "echo no; exit 3"),
    ],
}
SQL_DAG = """
dag: sums
jobs:
- name: src_lines
  activation: source
  source: {kind: manual}
  outputs:
  - {dataset: lines, storage: {table: lines}, columns: [k, amount]}
- name: total
  inputs: [lines]
  outputs: [{dataset: total, storage: {table: total}}]
  config: {sql_file: total.sql}
"""
TASK, FAILED, PLAN, PENDING = "<task>", "<failed>", "<plan>", "<pending>"
LETTER, INVALIDATION = "<letter>", "<invalidation>"
LISTS = {
    TASK: ("tasks",),
    FAILED: ("tasks", "--status", "failed"),
    PLAN: ("plans", "--state", "proposed"),
    PENDING: ("plans", "--state", "pending_approval"),
    LETTER: ("dead-letters",),
    INVALIDATION: ("invalidations",),
}
VARYING = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "(id)"),
    (re.compile(r"\bkn_[\w-]+"), "(key)"),
    (re.compile(r"whsec_[\w+/=]+"), "(secret)"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?"), "(time)"),
    (re.compile(r"\b([0-9a-f]{32}|[0-9a-f]{8}([0-9a-f]{4})?)\b"), "(id)"),
    (re.compile(r"deployed yet in .*?: knockon\s", re.DOTALL), "deployed yet: knockon "),
    (re.compile(r'(?<!")\b(http|knockon invalidate)\b(?![":])'), "(origin)"),
    (re.compile(r'"origin": "(http|command line)"'), '"origin": (origin)'),
    # On the database, only the commands with --by record a person.
    (re.compile(r'"(by|actor)": ("ann@example.com"|null),?'), ""),
    (re.compile(r"\b\d+[smhd]( ago)?\b"), "(span)"),
    (re.compile(r'"source": ("http"|"knockon invalidate"|null)'), '"source": (source)'),
    (
        re.compile(r"(\"(id|seconds|position|oldest_seconds|mean_seconds)\":) [\d.]+"),
        r"\1 (number)",
    ),
    (re.compile(r"(\d)\.0\b"), r"\1"),
    (re.compile(r"[\s─]+"), " "),
)


@dataclass(frozen=True)
class Side:
    """The command line in this process, because starting another takes longer than any command.

    Placeholders in arguments stand for ids of the own org.
    """

    env: dict[str, str]

    def __call__(self, *args: str, code: int = 0, stdin: str = "") -> Result:
        filled = [self._id(each) if each in LISTS else each for each in args]
        out, err, status = io.StringIO(), io.StringIO(), 0
        with (
            pytest.MonkeyPatch.context() as patch,
            redirect_stdout(out),
            redirect_stderr(err),
            mock.patch.dict(os.environ, self.env, clear=True),
        ):
            patch.setattr(sys, "argv", ["knockon", *filled])
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            try:
                main()
            except SystemExit as end:
                status = int(end.code or 0)
        result = Result(status, out.getvalue(), err.getvalue())
        assert (result.code, "Traceback" in result.err) == (code, False), result
        return result

    def _id(self, placeholder: str) -> str:
        rows = self(*LISTS[placeholder], "--json").json
        return str(rows[0]["id"])[-12:]


@dataclass(frozen=True)
class Pair:
    """An org reached through the database, and another one through a server."""

    local: Side
    remote: Side

    def both(self, *args: str, code: int = 0) -> Result:
        """Run a command on both; the results are equal, as text and as JSON."""
        results = [side(*args, code=code) for side in (self.local, self.remote)]
        assert steady(results[1].out) == steady(results[0].out), args
        assert steady(results[1].err) == steady(results[0].err), args
        return results[1]

    def read(self, *args: str, code: int = 0) -> Result:
        """Run a command that changes nothing on both, rendered and with --json."""
        self.both(*args, "--json", code=code)
        return self.both(*args, code=code)


def steady(text: str) -> str:
    """Text without ids and times."""
    for pattern, replacement in VARYING:
        text = pattern.sub(replacement, text)
    return text


@pytest.fixture
def pair(database_url: str, tmp_path: Path, address: str) -> Iterator[Pair]:
    """Two orgs with the same users, engine and worker for both, and a server."""
    env = environment(
        tmp_path,
        KNOCKON_DATABASE_URL=database_url,
        USER=ANN,
        XDG_CONFIG_HOME=str(tmp_path / "config"),
    )
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("INSERT INTO orgs (id, slug, name) VALUES (%s, 'far', 'far')", [new_id()])
        conn.execute("INSERT INTO orgs (id, slug, name) VALUES (%s, 'near', 'near')", [new_id()])
    near, far = (Side(env | {"KNOCKON_ORG": slug}) for slug in ("near", "far"))
    for org in (near, far):
        org("org", "set", "trusted", "on")
        org("users", "add", ANN, "admin")
        org("keys", "create", ANN, "laptop", "--scope", "api")
    key = far("keys", "create", ANN, "cli", "--scope", "api", "--json").json["key"]
    near("keys", "create", ANN, "cli", "--scope", "api")
    own = {name: value for name, value in env.items() if name != "KNOCKON_DATABASE_URL"}
    remote = Side(own | {"KNOCKON_SERVER": f"http://{address}"})
    everywhere = Knockon(env | {"KNOCKON_ORG": "all"})
    with everywhere.running("serve", "--listen", address, until="HTTP service is up"):
        remote("login", stdin=f"{key}\n")
        yield Pair(near, remote)


@pytest.fixture
def working(pair: Pair) -> Iterator[Pair]:
    """The pair, with an engine and a worker of both orgs."""
    everywhere = Knockon(pair.local.env | {"KNOCKON_ORG": "all"})
    with (
        everywhere.running("engine", until="engine is up"),
        everywhere.running("worker", until="worker is up"),
    ):
        yield pair


@pytest.fixture
def dag(tmp_path: Path) -> str:
    file = tmp_path / "dag.yaml"
    file.write_text(json.dumps(DAG))
    return str(file)


def test_work(working: Pair, dag: str) -> None:
    both, read = working.both, working.read
    read("status")
    read("jobs")
    read("deploy", dag, "--dry-run")
    both("deploy", dag)
    both("deploy", dag, "--wait", "--json")
    for command in ("jobs", "datasets", "lineage", "history", "stale", "audit", "tasks"):
        read(command)
    read("history", "shop", "--version", "1")
    both("pause", "job", "broken", "--reason", "later")
    both("invalidate", "orders", "-p", "2026-02-01", "-c", "notes", "--wait", "--timeout", "60")
    both("invalidate", "orders", "-p", "2026-02-02", "--key", "k1")
    both("invalidate", "orders", "-p", "2026-02-02", "--key", "k1")
    both("invalidate", "orders", "-p", "2026-02-03", "--key", "k1", code=1)
    both("run", "sales", "-p", "2026-02-01", "--wait")
    both("resume", "job", "broken")
    both("run", "broken", "-p", "2026-02-01", "--wait", code=1)
    read("tasks", "--status", "failed")
    for command in (("tasks", "show"), ("explain",), ("logs",)):
        both(*command, FAILED)
    both("tasks", "retry", FAILED)
    both("run", "broken", "-p", "2026-02-01", "--wait", code=1)
    read("partitions", "broken")
    read("explain", "sales", "2026-02-01")
    read("explain", "orders", "2026-02-01")
    read("lineage", "sales", "--up", "--columns")
    both("backfill", "sales", DAYS, "--wait")
    read("datasets", "--dag", "shop")
    kinds = [
        [each["kind"] for each in side("events", "--after", "0", "-n", "1100", "--json").json]
        for side in (working.local, working.remote)
    ]
    assert sorted(kinds[0]) == sorted(kinds[1])
    both("undeploy", "shop")
    both("undeploy", "shop", "--yes")
    read("status")


def test_decisions(working: Pair, dag: str) -> None:
    both, read = working.both, working.read
    both("deploy", dag, "--wait")
    both("pause", "job", "broken")
    read("impact", "orders", "-p", DAYS)
    read("plans")
    both("plans", "show", PLAN)
    both("apply", PLAN, "--wait")
    both("apply", "0123456789ab", code=1)
    both("org", "set", "blast_radius", "1")
    read("org")
    for decision in ("approve", "reject"):
        both("invalidate", "orders", "-p", DAYS, "--wait", code=1)
        read("status")
        both("plans", "show", PENDING)
        both(decision, PENDING)
    both("backfill", "sales", "2026-02-05..2026-02-09", "--dry-run")
    both("approve", "zzz", code=1)
    read("stale")
    both("audit", "--mend")
    read("pause", "org", "--reason", "freeze")
    both("resume", "org")


def test_tasks_without_a_worker(pair: Pair, dag: str) -> None:
    both = pair.both
    both("deploy", dag)
    engine = Knockon(pair.local.env | {"KNOCKON_ORG": "all"})
    both("invalidate", "orders", "-p", DAYS)
    both("invalidate", "returns", "-p", DAYS)
    with engine.running("engine", until="engine is up"):
        for side in (pair.local, pair.remote):
            while len(side("tasks", "--json").json) < 6:
                pass
    both("tasks", "cancel", TASK)
    both("tasks", "cancel", TASK, code=1)
    both("tasks", "cancel", "--job", "broken")
    both("tasks", "retry", TASK)
    both("tasks", "retry", "--status", "canceled", "--job", "broken")
    both("tasks", "retry", "--all")
    both("tasks", "show", "nonsense", code=1)
    pair.read("tasks", "--job", "nonsense", code=1)
    pair.read("invalidations", "--dataset", "orders")
    both("explain", INVALIDATION, code=1)


def test_access(pair: Pair) -> None:
    both, read = pair.both, pair.read
    both("users", "add", BEA, "reader", "--issuer", "https://id.example.com", "--subject", "b/1")
    again = ("--issuer", "https://id.example.com", "--subject", "b/1")
    both("users", "add", BEA, "reader", *again, code=1)
    read("users")
    both("users", "set-role", BEA, "writer")
    for side in (pair.local, pair.remote):
        (external,) = [
            each["external_id"] for each in side("users", "--json").json if each["email"] == BEA
        ]
        assert "/" in external
        assert "has the role reader" in side("users", "set-role", external, "reader").out
    both("roles", "add", "finance", "--name", "Finance")
    both("roles", "grant", "finance", BEA)
    both("roles", "grant", "finance", BEA)
    read("roles")
    both("roles", "revoke", "finance", BEA)
    both("roles", "remove", "finance")
    both("keys", "create", BEA, "ci", "--scope", "read", "--expires", "90d")
    for side in (pair.local, pair.remote):
        prefix = side("keys", "--json").json[0]["prefix"]
        assert "(ci) is revoked" in side("keys", "revoke", prefix).out
    both("webhooks", "add", "ops", "https://hooks.example.com/x", "--kind", "task.failed")
    read("webhooks")
    both("webhooks", "remove", "ops")
    both("webhooks", "remove", "ops", code=1)
    both("org", "set", "four_eyes", "on")
    both("users", "remove", BEA)
    both("users", "remove", BEA, code=1)
    both("users", "changes", "--json")


def test_dead_letters(pair: Pair, dag: str, database_url: str) -> None:
    both = pair.both
    both("deploy", dag)
    with psycopg.connect(database_url, autocommit=True) as conn:
        for position in range(8):
            conn.execute(
                "INSERT INTO dead_letters (id, org_id, consumer, stream, position, payload,"
                " headers, error) SELECT %s, id, 'c', 'kafka/x', %s, '{', '{}', 'no' FROM orgs"
                " WHERE slug = %s",
                [new_id(), str(position // 2), ("near", "far")[position % 2]],
            )
    pair.read("dead-letters")
    for side in (pair.local, pair.remote):
        letters = [each["id"] for each in side("dead-letters", "--json").json]
        assert side("dead-letters", "show", letters[0][-12:], "--json").json["id"] == letters[0]
    both("dead-letters", "discard", LETTER, "--reason", "a test")
    both("dead-letters", "discard", LETTER, "--reason", "", code=1)
    both("dead-letters", "replay", LETTER, code=1)
    both("dead-letters", "replay", "--all", code=1)
    both("dead-letters", "discard", "--stream", "kafka/x", "--reason", "more")
    both("dead-letters", "--with-done", "--json")
    both("invalidations", "replay", "--all")


def test_files_with_sql_beside_them(pair: Pair, tmp_path: Path, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("CREATE TABLE lines (k int, amount int)")
    (tmp_path / "total.sql").write_text("SELECT sum(amount) AS amount FROM lines\n")
    (tmp_path / "sums.yaml").write_text(SQL_DAG)
    file = str(tmp_path / "sums.yaml")
    pair.remote("deploy", file)
    shown = pair.remote("history", "sums", "--version", "1").out
    assert "SELECT sum(amount) AS amount" in shown
    assert "is unchanged" in pair.remote("deploy", file).out
