"""`knockon events`."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.text import Text

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import console, show
from engine.cli.render.elements import short, status_text
from engine.cli.runtime.session import Session, run
from engine.cli.runtime.watch import watching
from engine.model.states import EventKind
from engine.printable import printable_json
from engine.service.queries.events import FeedEvent
from engine.service.queries.events import events as read_events
from engine.wording import summary

_POLL_SECONDS = 1.0
_PAGE = 1000
app = typer.Typer(add_completion=False)


@app.command()
@command
def events(
    options: GlobalOptions,
    after: Annotated[
        int | None,
        typer.Option(min=0, help="Position to continue after; 0 is the beginning."),
    ] = None,
    kind: Annotated[
        list[EventKind] | None,
        typer.Option("--kind", "-k", help="Kind of the events; repeatable."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, help="Maximum number of events to list.")
    ] = 50,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Continue with new events; JSON by line.")
    ] = False,
) -> None:
    """List events by position, the newest or those after a position."""
    kinds = kind or None

    async def page(session: Session, after: int | None, limit: int) -> list[FeedEvent]:
        return await read_events(
            session.caller(), session.service, after=after, kinds=kinds, limit=limit
        )

    async def work(session: Session) -> list[FeedEvent]:
        rows = await page(session, after, limit)
        if not follow:
            return rows
        position = after or 0
        async with watching(session) as watch:
            while True:
                _print_lines(options, rows)
                position = rows[-1].position if rows else position
                if len(rows) < _PAGE:
                    await asyncio.sleep(_POLL_SECONDS)
                watch.check()
                rows = await page(session, position, _PAGE)

    show(options, run(options, work), _listed)


def _print_lines(options: GlobalOptions, rows: Sequence[FeedEvent]) -> None:
    if options.as_json:
        for row in rows:
            sys.stdout.write(printable_json(msgspec.json.encode(row).decode()) + "\n")
    else:
        for row in rows:
            console().print(_line(row))
    sys.stdout.flush()


def _listed(rows: list[FeedEvent]) -> RenderableType:
    return Group(*map(_line, rows)) if rows else Text("no events", "dim")


def _line(event: FeedEvent) -> Text:
    """The position, time, kind, subject and detail of an event."""
    noun, _, verb = event.kind.partition(".")
    moment = event.occurred_at.isoformat(sep=" ", timespec="milliseconds")
    line = Text.assemble((f"{event.position:>8}", "dim"), f"  {moment}  {noun} ", status_text(verb))
    return line.append(f"  {_subject(event)}").append(f"  {_note(event.detail)}", "dim")


def _subject(event: FeedEvent) -> str:
    detail = event.detail
    if event.job_name is not None:
        task = f"{event.dag_name}.{event.job_name}[{detail.get('block_key')}]"
        return f"{task} {short(event.subject_id)}"
    return str(detail.get("dataset") or detail.get("dag") or short(event.subject_id))


def _note(detail: dict[str, Any]) -> str:
    """The rest of the detail in one line."""
    shown = {
        name: summary(str(value))
        for name, value in detail.items()
        if name not in ("block_key", "dataset", "dag")
    }
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())
