"""`knockon invalidations`: list and replay."""

from typing import Annotated
from uuid import UUID

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import ago, compact, empty_table, short
from engine.cli.runtime.session import Session, run
from engine.errors import InvalidInput
from engine.service.commands.invalidations import replay as replay_set_aside
from engine.service.commands.invalidations import replay_all
from engine.service.queries.invalidations import InvalidationRow
from engine.service.queries.invalidations import invalidations as list_invalidations
from engine.wording import counted

app = typer.Typer(add_completion=False, invoke_without_command=True)
_Dataset = Annotated[
    str | None, typer.Option("--dataset", "-d", help="Dataset of the invalidations.")
]
_Open = Annotated[
    bool,
    typer.Option(
        "--open", help="Only invalidations not planned yet, pending approval or set aside."
    ),
]
_SetAside = Annotated[
    bool, typer.Option("--set-aside", help="Only invalidations set aside after a planning error.")
]
_Limit = Annotated[
    int, typer.Option("--limit", "-n", min=1, help="Maximum number of invalidations to list.")
]


@app.callback()
@command
def invalidations(
    options: GlobalOptions,
    dataset: _Dataset = None,
    only_open: _Open = False,
    only_set_aside: _SetAside = False,
    limit: _Limit = 50,
) -> None:
    """List invalidations with outcomes, newest first; a subcommand replays them."""
    rows = run(
        options,
        lambda session: list_invalidations(
            session.caller(),
            session.service,
            dataset=dataset,
            only_open=only_open,
            only_set_aside=only_set_aside,
            limit=limit,
        ),
    )
    show(options, rows, _table)


@app.command()
@command
def replay(
    options: GlobalOptions,
    ids: Annotated[
        list[str] | None,
        typer.Argument(help="Ids of invalidations, or the last characters.", metavar="ID"),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Replay all set-aside invalidations.")
    ] = False,
    whole: Annotated[
        bool, typer.Option("--whole", help="Widen each to all existing partitions of the dataset.")
    ] = False,
) -> None:
    """Plan again invalidations set aside after a planning error."""
    if bool(ids) == all_:
        raise InvalidInput("name the invalidations to replay, or pass --all")

    async def work(session: Session) -> list[UUID]:
        if ids:
            return await replay_set_aside(session.caller(), session.service, ids, whole=whole)
        return await replay_all(session.caller(), session.service, whole=whole)

    count = counted(len(replayed := run(options, work)), "invalidation")
    show(options, replayed, lambda _: Text(f"{count} to be planned again"))


def _table(rows: list[InvalidationRow]) -> RenderableType:
    if not rows:
        return Text("no such invalidations", "dim")
    table = empty_table("id|", "dataset|", "part", "reason", "events>", "age|", "outcome", "jobs>")
    for row in rows:
        table.add_row(
            short(row.id),
            row.dataset,
            _part(row),
            row.reason,
            f"{row.events:,}",
            ago(row.created_at),
            _outcome(row),
            str(row.jobs),
        )
    errors = (
        Text.assemble(short(row.id), ("  cannot be planned: ", "red"), row.planning_error)
        for row in rows
        if row.planning_error
    )
    return Group(table, *errors)


def _outcome(row: InvalidationRow) -> Text:
    if row.planning_error:
        return Text("set aside", "red")
    return Text(row.outcome) if row.outcome else Text("open", "yellow")


def _part(row: InvalidationRow) -> str:
    parts = [row.partition_key or "all partitions"]
    if row.columns is not None:
        parts.append(f"columns {', '.join(row.columns)}")
    if row.row_filter:
        parts.append(f"rows {compact(row.row_filter)}")
    return "; ".join(parts)
