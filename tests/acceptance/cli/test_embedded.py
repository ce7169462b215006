"""The embedded servers under KNOCKON_HOME, without any settings."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg

from tests.acceptance.cli.conftest import MINIMAL, Knockon, environment


def test_a_command_starts_and_stops_the_embedded_database(tmp_path: Path) -> None:
    knockon = Knockon(environment(tmp_path))
    knockon("deploy", MINIMAL)
    assert knockon("status", "--json").json["dags"][0]["name"] == "minimal"
    assert not (tmp_path / "home" / "postgres" / "postmaster.pid").exists()


def test_a_command_in_a_wrong_directory_creates_no_database(tmp_path: Path) -> None:
    knockon = Knockon(environment(tmp_path))
    for command in (["status"], ["psql", "-c", "SELECT 1"], ["invalidate", "orders"]):
        error = knockon(*command, code=1).err
        assert f"there is no embedded database in {tmp_path / 'home'}: run the command" in error
    assert not (tmp_path / "home").exists()


def test_concurrent_commands_share_the_embedded_database(tmp_path: Path) -> None:
    knockon = Knockon(environment(tmp_path))
    knockon("migrate")
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: knockon("status", "--json").json, range(4)))
    assert all(each["dags"] == [] for each in results)


def test_up_runs_everything_for_other_commands(tmp_path: Path) -> None:
    knockon = Knockon(environment(tmp_path))
    with knockon.running("up", until="Knockon is up.") as service:
        (*_, database) = service.wait_for("database")
        url = database.split()[1]
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("CREATE TABLE orders (id int PRIMARY KEY, ordered_at date, amount int)")
            conn.execute("INSERT INTO orders VALUES (1, '2026-02-03', 7)")
            knockon("deploy", MINIMAL)
            knockon("invalidate", "orders", "-p", "2026-02-03", "--wait")
            assert conn.execute("SELECT sales FROM daily_sales").fetchall() == [(7,)]
        assert (tmp_path / "home" / "kafka").exists()
        assert service.stop() == 0
    assert not (tmp_path / "home" / "kafka").exists()
    assert not (tmp_path / "home" / "postgres" / "postmaster.pid").exists()
