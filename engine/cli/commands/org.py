"""`knockon org`, and what an org sets for itself."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from engine.cli.call import Call, command
from engine.cli.output import show, table
from engine.cli.session import Session, run
from engine.errors import InvalidInput
from engine.store.orgs import OrgSettings, set_setting, settings

app = typer.Typer(add_completion=False, invoke_without_command=True)
_NONE = "none"


class Setting(StrEnum):
    """What may be set."""

    blast_radius = "blast_radius"
    grants = "grants"


@app.callback()
@command
def org(call: Call) -> None:
    """Show or change settings of the org.

    blast_radius: most partitions recomputed by a plan without approval; none for any number.
    grants: dag_files grants the org's SQL jobs the tables named in its DAG files; with none, only
    tables granted with 'knockon grant'.
    """

    async def work(session: Session) -> OrgSettings:
        async with session.connection() as conn:
            return await settings(conn, session.scene.org_id)

    show(call, run(call, work), _settings)


@app.command("set")
@command
def set_(
    call: Call,
    setting: Annotated[Setting, typer.Argument(help="Setting to change.")],
    value: Annotated[
        str,
        typer.Argument(help="blast_radius: a number from 1, or none; grants: dag_files or none."),
    ],
) -> None:
    """Change a setting of the org: knockon org set blast_radius 1000."""
    parsed = _number(value) if setting is Setting.blast_radius else _grants(value)

    async def work(session: Session) -> OrgSettings:
        async with session.connection() as conn:
            await set_setting(conn, session.scene.org_id, setting.value, parsed)
            return await settings(conn, session.scene.org_id)

    show(call, run(call, work), _settings)


def _number(text: str) -> int | None:
    if text == _NONE:
        return None
    if not text.isdecimal() or not 1 <= int(text) < 2**31:
        raise InvalidInput(f"{text!r} is no limit: give a number of partitions from 1, or none")
    return int(text)


def _grants(text: str) -> str | None:
    if text not in (_NONE, "dag_files"):
        raise InvalidInput(f"{text!r} names no tables: give dag_files or none")
    return None if text == _NONE else text


def _settings(view: OrgSettings) -> RenderableType:
    made = table("setting", "value>")
    limit = view.blast_radius
    made.add_row("blast_radius", Text("none", "dim") if limit is None else f"{limit:,}")
    made.add_row("grants", Text("none", "dim") if view.grants is None else view.grants)
    return made
