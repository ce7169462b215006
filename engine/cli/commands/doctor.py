"""`knockon doctor`."""

import asyncio
from dataclasses import replace

import psycopg
import typer
from rich.console import Group, RenderableType
from rich.text import Text

from engine.cli.broker import broker_of
from engine.cli.call import Call, command
from engine.cli.checks.check import Check, Checks
from engine.cli.checks.database import check_database
from engine.cli.checks.inflow import check_inflow
from engine.cli.checks.packages import check_packages
from engine.cli.checks.work import check_work
from engine.cli.output import show
from engine.cli.session import database_url, settings_of
from engine.errors import KnockonError
from engine.flow.scene import Scene
from engine.secrets import redacted
from engine.settings import Settings
from engine.store.database import Database
from engine.store.migrate import migrate
from engine.store.orgs import org_id

app = typer.Typer(add_completion=False)
_MARKS = {"ok": ("✓ ", "green"), "warn": ("! ", "yellow"), "fail": ("✗ ", "bold red")}


@app.command()
@command
def doctor(call: Call) -> None:
    """Check the installation, and print remedies; exit with 1 if a check fails."""
    checks = [_without_secrets(each) for each in asyncio.run(_examined(settings_of(call)))]
    show(call, checks, _report)
    if any(each.verdict == "fail" for each in checks):
        raise typer.Exit(1)


async def _examined(settings: Settings) -> list[Check]:
    """All checks, up to the first thing without which the rest cannot be done."""
    found: list[Check] = []
    try:
        async for check in _all(settings):
            found.append(check)  # noqa: PERF401 what was found before an error counts
    except (KnockonError, psycopg.Error) as error:
        found.append(Check("database", "fail", str(error).strip()))
    return found


async def _all(settings: Settings) -> Checks:
    yield check_packages(settings)
    with database_url(settings) as url:
        if settings.database_url is None:
            await migrate(url, grants_named_tables=True)
        async with await Database.open(url, retry=False) as database:
            async for check in _of(settings, database):
                yield check


async def _of(settings: Settings, database: Database) -> Checks:
    async for check in check_database(database):
        yield check
        if check.name == "schema" and check.verdict == "fail":
            return
    source_url = settings.source_url or database.url
    async with database.connection() as conn:
        scene = Scene(await org_id(conn, settings.org))
        async for check in check_work(conn, scene):
            yield check
        async for check in check_inflow(
            conn, scene, f"knockon.{settings.org}", broker_of(settings), source_url
        ):
            yield check


def _without_secrets(check: Check) -> Check:
    return replace(check, detail=redacted(check.detail), remedy=redacted(check.remedy))


def _report(checks: list[Check]) -> RenderableType:
    return Group(*(_line(each) for each in checks))


def _line(check: Check) -> Text:
    text = Text.assemble(_MARKS[check.verdict], (f"{check.name:<13} ", "bold"), check.detail)
    return text.append(f"  → {check.remedy}", "yellow") if check.remedy else text
