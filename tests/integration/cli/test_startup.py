"""Processes start through an outage of the database between two of their first statements."""

import asyncio
from types import ModuleType
from typing import Any

import pytest

from engine.cli.runtime import services
from engine.cli.runtime.session import open_session
from engine.errors import ServiceUnavailable
from engine.loops import schema_watch
from engine.service import service
from engine.settings import Settings
from engine.store.database import Connection, Database
from engine.worker import Client, client


@pytest.fixture
async def org(database: Database) -> None:
    async with database.connection() as conn:
        await service.ensure_org(conn, "default")


def end_session(monkeypatch: pytest.MonkeyPatch, module: ModuleType, function: str) -> list[str]:
    """Have the server end the session in which a function is called first; return its calls."""
    original = getattr(module, function)
    calls: list[str] = []

    async def called(conn: Connection, *arguments: Any) -> Any:
        calls.append(function)
        if len(calls) == 1:
            await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return await original(conn, *arguments)

    monkeypatch.setattr(module, function, called)
    return calls


@pytest.mark.parametrize("function", ["require_supported_code", "missing_migrations", "ensure_org"])
async def test_a_service_opens_its_session(
    monkeypatch: pytest.MonkeyPatch, database_url: str, function: str
) -> None:
    calls = end_session(monkeypatch, service, function)
    settings = Settings(database_url=database_url)
    async with open_session(settings, database_url, creates_org=True, patient=True) as session:
        assert session.org.slug == "default"
    assert len(calls) == 2


async def test_a_short_command_reports_the_outage(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    calls = end_session(monkeypatch, service, "missing_migrations")
    with pytest.raises(ServiceUnavailable, match="terminating connection"):
        async with open_session(Settings(database_url=database_url), database_url):
            pass
    assert len(calls) == 1


@pytest.mark.usefixtures("org")
@pytest.mark.parametrize("function", ["register_code", "require_supported_code"])
async def test_a_service_registers_its_code(
    monkeypatch: pytest.MonkeyPatch, database_url: str, function: str
) -> None:
    async def work(stop: asyncio.Event) -> None:
        stop.set()

    settings = Settings(database_url=database_url)
    async with open_session(settings, database_url, patient=True) as session:
        calls = end_session(monkeypatch, schema_watch, function)
        await services.serve(session, work)
    assert len(calls) > 1


@pytest.mark.usefixtures("org")
async def test_a_client_connects(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    calls = end_session(monkeypatch, client, "org_id")
    async with Client.connect(database_url, "external") as external:
        assert await external.claim() == []
    assert len(calls) == 2
