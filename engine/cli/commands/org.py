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
    set_admission,
    set_blast_radius,
    set_four_eyes,
    set_grants,
    set_trusted,
)
from engine.service.queries.identity import admission as admission_of_org
from engine.service.queries.orgs import OrgSettings, settings

app = typer.Typer(add_completion=False, invoke_without_command=True)
_NONE = "none"


class Setting(StrEnum):
    """Name of a setting."""

    blast_radius = "blast_radius"
    grants = "grants"
    trusted = "trusted"
    four_eyes = "four_eyes"


@app.callback()
@command
def org(options: GlobalOptions) -> None:
    """Show or change settings of the org.

    blast_radius: maximum number of partitions recomputed without approval; none for no limit.
    grants: dag_files grants the org's SQL jobs the tables named in its DAG files; with none, only
    tables granted with 'knockon grant'.
    trusted: on lets members of the org deploy python and shell jobs, topics, schema registries and
    any secret; otherwise only operators do. four_eyes: on lets nobody approve a plan of their own.
    """
    view = run(options, lambda session: settings(session.caller(), session.service))
    show(options, view, _settings_table)


@app.command("set")
@command
def set_(
    options: GlobalOptions,
    setting: Annotated[Setting, typer.Argument(help="Setting to change.")],
    value: Annotated[
        str,
        typer.Argument(
            help="blast_radius: a number from 1, or none; grants: dag_files or none; trusted and "
            "four_eyes: on or off."
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
        return await set_grants(caller, service, _grants(value))

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
        raise InvalidInput(f"{text!r} is not a limit: give a number of partitions from 1, or none")
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
    table = empty_table("setting", "value>")
    limit = view.blast_radius
    table.add_row("blast_radius", Text("none", "dim") if limit is None else f"{limit:,}")
    table.add_row("grants", Text("none", "dim") if view.grants is None else view.grants)
    table.add_row("trusted", "on" if view.trusted else Text("off", "dim"))
    table.add_row("four_eyes", "on" if view.four_eyes else Text("off", "dim"))
    return table
