"""`knockon doctor`."""

import asyncio

import msgspec
import psycopg
import typer
from rich.console import Group
from rich.text import Text

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.runtime.broker import find_broker
from engine.cli.runtime.embedded_packages import check_packages
from engine.cli.runtime.session import database_url, load_settings, open_remote_session
from engine.errors import KnockonError
from engine.secrets import redacted
from engine.service.caller import Caller
from engine.service.checks.check import Check, Checks, CheckVerdict
from engine.service.checks.database import check_database
from engine.service.queries import health
from engine.service.service import Service
from engine.settings import Settings

app = typer.Typer(add_completion=False)
_MARKS = {
    CheckVerdict.OK: ("✓ ", "green"),
    CheckVerdict.WARN: ("! ", "yellow"),
    CheckVerdict.FAIL: ("✗ ", "bold red"),
}


@app.command()
@command
def doctor(options: GlobalOptions) -> None:
    """Check the installation, and print remedies; exit with 1 if a check fails."""
    checks = [_without_secrets(check) for check in asyncio.run(_checks(load_settings(options)))]
    show(options, checks, lambda checks: Group(*map(_lines, checks)), soft_wrap=True)
    if any(check.verdict == CheckVerdict.FAIL for check in checks):
        raise typer.Exit(1)


async def _checks(settings: Settings) -> list[Check]:
    """All checks, up to the first error that prevents further checks."""
    checks: list[Check] = []
    try:
        async for check in _run_checks(settings):
            checks.append(check)  # noqa: PERF401 checks before an error are reported
    except (KnockonError, psycopg.Error) as error:
        name = "database" if settings.server is None else "server"
        checks.append(Check(name, CheckVerdict.FAIL, str(error).strip()))
    return checks


async def _run_checks(settings: Settings) -> Checks:
    if settings.server is not None:
        async for check in _server_checks(settings):
            yield check
        return
    yield check_packages(settings)
    with database_url(settings) as url:
        is_embedded = settings.database_url is None
        opening = Service.open(
            url,
            direct_url=settings.direct_url,
            source_url=settings.source_url,
            migrates=is_embedded,
        )
        async with opening as service:
            async for check in _service_checks(settings, service):
                yield check


async def _server_checks(settings: Settings) -> Checks:
    """Check what the key permits to see; the database is checked beside it."""
    async with open_remote_session(settings) as session:
        caller, service = session.caller(), session.service
        detail = f"{settings.server} as {session.user} of org {session.org.slug}"
        yield Check("server", CheckVerdict.OK, detail)
        yield await health.processes(caller, service)
        for check in await health.work(caller, service):
            yield check


async def _service_checks(settings: Settings, service: Service) -> Checks:
    async for check in check_database(service.database):
        yield check
        if check.name == "schema" and check.verdict == CheckVerdict.FAIL:
            return
    caller = Caller.local(await service.org(settings.org))
    yield await health.processes(caller, service)
    for check in await health.work(caller, service):
        yield check
    for check in await health.inflow(caller, service, find_broker(settings)):
        yield check


def _without_secrets(check: Check) -> Check:
    detail, remedy = redacted(check.detail), redacted(check.remedy)
    statements = [redacted(statement) for statement in check.statements]
    return msgspec.structs.replace(check, detail=detail, remedy=remedy, statements=statements)


def _lines(check: Check) -> Text:
    """Return the check in a line, and below it the statements without indentation, to be copied."""
    return Text("\n").join([_line(check), *map(Text, check.statements)])


def _line(check: Check) -> Text:
    text = Text.assemble(_MARKS[check.verdict], (f"{check.name:<13} ", "bold"), check.detail)
    return text.append(f"  → {check.remedy}", "yellow") if check.remedy else text
