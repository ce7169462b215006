"""`knockon org`: show and change settings of an org."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.console import RenderableType
from rich.text import Text

from engine.cli.commands._decisions import By
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import empty_table
from engine.cli.runtime.session import Session, run
from engine.errors import InvalidInput
from engine.model.admission import Admission
from engine.service.commands.orgs import (
    Quota,
    set_admission,
    set_blast_radius,
    set_four_eyes,
    set_grants,
    set_quota,
    set_trusted,
)
from engine.service.queries.identity import admission as admission_of_org
from engine.service.queries.orgs import OrgSettings, settings
from engine.service.queries.usage import Usage, usage


class OrgView(OrgSettings, frozen=True, kw_only=True):
    """The settings of an org, and what it uses of its quotas."""

    usage: Usage


app = typer.Typer(add_completion=False, invoke_without_command=True)
_NONE = "none"


class Setting(StrEnum):
    """Name of a setting."""

    blast_radius = "blast_radius"
    grants = "grants"
    trusted = "trusted"
    four_eyes = "four_eyes"
    unfinished_tasks = "unfinished_tasks"
    running_tasks = "running_tasks"
    events_per_second = "events_per_second"
    partitions_per_plan = "partitions_per_plan"
    log_bytes = "log_bytes"
    jobs = "jobs"


@app.callback()
@command
def org(options: GlobalOptions) -> None:
    """Show or change settings of the org.

    blast_radius: maximum number of partitions recomputed without approval; none for no limit.
    grants: dag_files grants the org's SQL jobs the tables named in its DAG files; with none, only
    tables granted with 'knockon grant'.
    trusted: on lets members of the org deploy python and shell jobs, topics, schema registries and
    any secret; otherwise only operators do. four_eyes: on lets nobody approve a plan of their own.

    The others are quotas, which only operators set. unfinished_tasks: planning waits while the org
    has as many. running_tasks: further tasks stay queued. events_per_second: further events are
    refused over HTTP, and read later from other sources. partitions_per_plan: a larger plan does
    not run. log_bytes: older logs of finished tasks are dropped. jobs: a deploy with more is
    refused.
    """

    async def load(session: Session) -> OrgView:
        caller, service = session.caller(), session.service
        of_org, used = await settings(caller, service), await usage(caller, service)
        return OrgView(**msgspec.structs.asdict(of_org), usage=used)

    show(options, run(options, load), _org_table)


@app.command("set")
@command
def set_(
    options: GlobalOptions,
    setting: Annotated[Setting, typer.Argument(help="Setting to change.")],
    value: Annotated[
        str,
        typer.Argument(
            help="blast_radius and quotas: a number from 1, or none; grants: dag_files or none; "
            "trusted and four_eyes: on or off."
        ),
    ],
) -> None:
    """Change a setting of the org: knockon org set blast_radius 1000."""

    async def work(session: Session) -> OrgSettings:
        caller, service = session.caller(), session.service
        if setting is Setting.blast_radius:
            return await set_blast_radius(caller, service, _number(value))
        if setting is Setting.trusted:
            return await set_trusted(caller, service, _switch(value))
        if setting is Setting.four_eyes:
            return await set_four_eyes(caller, service, _switch(value))
        if setting is Setting.grants:
            return await set_grants(caller, service, _grants(value))
        return await set_quota(caller, service, Quota(setting), _number(value))

    show(options, run(options, work), _settings_table)


@app.command()
@command
def admission(
    options: GlobalOptions,
    terms: Annotated[
        str | None,
        typer.Argument(
            help="JSON file with the terms of admission, or none; default: show them.",
            metavar="[FILE|none]",
            show_default=False,
        ),
    ] = None,
    by: By = None,
) -> None:
    """Show or set who is admitted to the org through the identity provider."""

    async def work(session: Session) -> Admission | None:
        caller, service = session.caller(by), session.service
        if terms is None:
            return await admission_of_org(caller, service)
        return await set_admission(caller, service, _terms(terms))

    show(options, run(options, work), _admission_text)


def _terms(text: str) -> Admission | None:
    if text == _NONE:
        return None
    try:
        return msgspec.json.decode(Path(text).read_bytes(), type=Admission)
    except OSError as error:
        raise InvalidInput(f"cannot read {text}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise InvalidInput(f"{text} does not contain terms of admission: {error}") from None


def _admission_text(view: Admission | None) -> RenderableType:
    if view is None:
        return Text("nobody is admitted through the identity provider", "dim")
    return Text(msgspec.json.format(msgspec.json.encode(view), indent=2).decode())


def _number(text: str) -> int | None:
    if text == _NONE:
        return None
    if not text.isdecimal():
        raise InvalidInput(f"{text!r} is not a limit: give a number from 1, or none")
    return int(text)


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise InvalidInput(f"{text!r} is not a value of this setting: give on or off")
    return text == "on"


def _grants(text: str) -> Literal["dag_files"] | None:
    if text == "dag_files":
        return "dag_files"
    if text == _NONE:
        return None
    raise InvalidInput(f"{text!r} is not a value of grants: give dag_files or none")


def _settings_table(view: OrgSettings) -> RenderableType:
    return _table(view, None)


def _org_table(view: OrgView) -> RenderableType:
    return _table(view, view.usage)


def _table(view: OrgSettings, used: Usage | None) -> RenderableType:
    columns = ("setting", "value>") if used is None else ("setting", "value>", "used>")
    table = empty_table(*columns)
    for setting in Setting:
        value, count = getattr(view, setting), getattr(used, setting, None)
        cells = [_cell(value)] if used is None else [_cell(value), _used(count, value)]
        table.add_row(setting, *cells)
    return table


def _cell(value: str | bool | int | None) -> Text:
    match value:
        case bool():
            return Text("on") if value else Text("off", "dim")
        case None:
            return Text(_NONE, "dim")
        case int():
            return Text(f"{value:,}")
    return Text(value)


def _used(count: int | None, quota: int | None) -> Text:
    if count is None:
        return Text("")
    return Text(f"{count:,}", "red" if quota is not None and count >= quota else "")
