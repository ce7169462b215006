"""Commands that run until a signal."""

import signal
from pathlib import Path

import psycopg
import pytest

from engine.embedded.broker import Broker
from tests.acceptance.cli.conftest import MINIMAL, Knockon, environment

FILL = "INSERT INTO orders SELECT n, date '2026-02-01' + n, 10 * n, '' FROM generate_series(1, 3) n"


def test_a_change_of_a_table_reaches_the_output(shop: Knockon, database_url: str) -> None:
    """Attach, consume, plan and run, in separate processes."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(FILL)
        assert (
            "captured"
            in shop("attach", "orders", "-d", "orders", "--partition", "dt=ordered_at").out
        )
        with (
            shop.running("engine", until="engine is up"),
            shop.running("worker", "--concurrency", "3", until="worker is up"),
            shop.running("consume", until="following tables"),
        ):
            shop("invalidate", "orders", "-p", "2026-02-02..2026-02-04", "--wait")
            rows = conn.execute("SELECT sales FROM daily_sales ORDER BY dt").fetchall()
        assert [row[0] for row in rows] == [10, 20, 30]
    text = shop("explain", "daily_sales", "2026-02-03").out
    assert "daily_sales 2026-02-03  fresh" in text
    (task, *_) = shop("tasks", "--job", "daily_sales", "--json").json
    story = shop("explain", task["id"][-8:]).out
    assert "→ daily_sales" in story
    assert "succeeded" in story
    assert shop("tasks", "--status", "failed").out == "no such tasks\n"
    doctor = shop("doctor").out
    assert "✓ change log" in doctor
    assert "✓ log rights" in doctor
    assert "knockon.default is forgotten" in shop("forget", "knockon.default").out
    assert "no reader" in shop("forget", "knockon.default", code=1).err
    assert shop("detach", "orders", "-d", "orders").out == "orders is no longer captured\n"
    assert "not attached" in shop("detach", "orders", "-d", "orders", code=1).err


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_services_stop_on_a_signal(shop: Knockon, how: signal.Signals) -> None:
    for name in ("engine", "worker"):
        with shop.running(name, until=f"{name} is up") as service:
            assert service.stop(how) == 0


def test_a_failed_task_is_reported_retried_and_canceled(shop: Knockon, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("DROP TABLE orders")
    with (
        shop.running("engine", until="engine is up"),
        shop.running("worker", until="worker is up"),
    ):
        failed = shop("run", "daily_sales", "-p", "2026-02-03", "--wait", code=1)
        assert "1 failed" in failed.err
        assert failed.out == "run of job daily_sales requested\n"
    assert "stuck" in shop("status").out
    (task,) = shop("tasks", "-s", "failed", "--json").json
    assert "no table public.orders" in task["error_message"]
    assert "queued again" in shop("tasks", "retry", task["id"]).out
    assert "neither failed nor canceled" in shop("tasks", "retry", task["id"], code=1).err
    assert "canceled" in shop("tasks", "cancel", task["id"]).out
    assert shop("status", "--json").json["tasks"] == {"canceled": 1}


def test_a_deploy_is_printed_though_a_build_fails(
    shop: Knockon, database_url: str, tmp_path: Path
) -> None:
    shop("invalidate", "orders", "-p", "2026-02-03")
    file = tmp_path / "dag.yaml"
    with (
        psycopg.connect(database_url, autocommit=True) as conn,
        shop.running("engine", until="engine is up"),
        shop.running("worker", until="worker is up"),
    ):
        shop("invalidate", "orders", "-p", "2026-02-03", "--wait")
        conn.execute("DROP TABLE orders")
        file.write_text(MINIMAL.read_text().replace("sum(amount)", "max(amount)"))
        failed = shop("deploy", file, "--wait", "--json", code=1)
        file.write_text(MINIMAL.read_text().replace("sum(amount)", "min(amount)"))
        again = shop("deploy", file, "--wait", code=1)
    assert failed.json["dags"][0]["dag_name"] == "minimal"
    assert "minimal is deployed" in again.out
    for result in (failed, again):
        assert "1 failed" in result.err


def test_doctor_finds_problems(shop: Knockon) -> None:
    text = shop("doctor").out
    assert "✓ schema" in text
    assert "! tables" in text
    assert "knockon attach" in text


def test_doctor_reports_which_processes_are_connected(shop: Knockon) -> None:
    def processes(*options: str) -> str:
        checks = shop("doctor", "--json", *options).json
        return next(check["detail"] for check in checks if check["name"] == "processes")

    nobody = "no engine and no worker and no consumer of org default is connected"
    assert processes() == nobody
    assert "! processes" in shop("doctor").out
    with shop.running("engine", until="engine is up"):
        assert processes() == "no worker and no consumer of org default is connected"
        with shop.running("up", until="worker is up"):
            assert processes() == "connected: engine, worker, consumer"
    assert processes() == nobody


def test_doctor_fails_without_a_schema_or_database(empty_database_url: str, tmp_path: Path) -> None:
    knockon = Knockon(environment(tmp_path, KNOCKON_DATABASE_URL=empty_database_url))
    checks = knockon("doctor", "--json", code=1).json
    (bad,) = (check for check in checks if check["verdict"] == "fail")
    assert (bad["name"], bad["remedy"]) == ("schema", "run 'knockon migrate'")
    away = knockon("doctor", "--database-url", "postgresql://127.0.0.1:1/none", code=1)
    assert "✗ database" in away.out


def test_a_dead_letter_is_shown_and_replayed(
    knockon: Knockon, broker: Broker, tmp_path: Path
) -> None:
    file = tmp_path / "dag.yaml"
    file.write_text(MINIMAL.read_text().replace("kind: postgres, table: public.orders", _TOPIC))
    knockon("deploy", file)
    assert knockon("dead-letters").out == "no dead letters\n"
    _bury(knockon.env["KNOCKON_DATABASE_URL"])
    (letter,) = knockon("dead-letters", "list", "--json").json
    shown = knockon("dead-letters", "show", letter["id"][-8:]).out
    assert "stream     kafka/orders/0 at 7" in shown
    assert "2026-02-03" in shown
    assert (
        "1 dead letter replayed: 1 invalidation" in knockon("dead-letters", "replay", "--all").out
    )
    assert knockon("dead-letters").out == "no dead letters\n"
    assert "kafka/orders/0" in knockon("dead-letters", "--with-replayed").out
    _bury(knockon.env["KNOCKON_DATABASE_URL"], "8")
    (letter,) = knockon("dead-letters", "list", "--json").json
    closing = ("dead-letters", "discard", letter["id"][-8:], "--by", "me", "--reason")
    assert "1 dead letter discarded" in knockon(*closing, "sent again").out
    assert "pass --stream" in knockon("dead-letters", "discard", "--reason", "x", code=1).err
    filtered = ("dead-letters", "discard", "--stream", "kafka/orders", "--reason", "x", "--json")
    assert knockon(*filtered).json == {"discarded": 0}
    assert "discarded already" in knockon(*closing, "again", code=1).err
    assert "by me: sent again" in knockon("dead-letters", "show", letter["id"]).out
    assert knockon("dead-letters").out == "no dead letters\n"


_TOPIC = "kind: kafka, topic: orders, dataset: orders"


_GOOD = b'{"partitions": ["2026-02-03"]}'


def _bury(url: str, position: str = "7", payload: bytes = _GOOD) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(
            """INSERT INTO dead_letters (id, org_id, consumer, stream, position, payload, error)
            SELECT gen_random_uuid(), id, 'k', 'kafka/orders/0', %s, %s, 'once' FROM orgs""",
            [position, payload],
        )


def test_a_replay_fails_if_any_letter_fails_again(
    knockon: Knockon, broker: Broker, tmp_path: Path
) -> None:
    file = tmp_path / "dag.yaml"
    file.write_text(MINIMAL.read_text().replace("kind: postgres, table: public.orders", _TOPIC))
    knockon("deploy", file)
    assert "0 dead letters replayed" in knockon("dead-letters", "replay", "--all").out
    _bury(knockon.env["KNOCKON_DATABASE_URL"])
    _bury(knockon.env["KNOCKON_DATABASE_URL"], "8", b"{")
    replayed = knockon("dead-letters", "replay", "--all", code=1).out
    assert "1 dead letter replayed" in replayed
    assert "failed again" in replayed
