"""`knockon invalidations`."""

from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from engine.api.invalidations import InvalidationRow
from engine.api.invalidations import invalidations as list_invalidations
from engine.cli.call import Call, command
from engine.cli.output import ago, compact, short, show, table
from engine.cli.session import Session, run

app = typer.Typer(add_completion=False)


@app.command()
@command
def invalidations(
    call: Call,
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Only of this dataset.")
    ] = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only those not planned yet.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 50,
) -> None:
    """List what was found stale, the newest first, and what became of it."""

    async def work(session: Session) -> list[InvalidationRow]:
        async with session.connection() as conn:
            return await list_invalidations(
                conn, session.scene, dataset=dataset, only_open=only_open, limit=limit
            )

    show(call, run(call, work), _listed)


def _listed(rows: list[InvalidationRow]) -> RenderableType:
    if not rows:
        return Text("no such invalidations", "dim")
    made = table("invalidation", "dataset", "what", "reason", "events>", "age", "outcome", "jobs>")
    for each in rows:
        what = _what(each)
        outcome = each.outcome or Text("open", "yellow")
        count = f"{each.events:,}"
        made.add_row(
            short(each.id),
            each.dataset,
            what,
            each.reason,
            count,
            ago(each.created_at),
            outcome,
            str(each.jobs),
        )
    return made


def _what(row: InvalidationRow) -> str:
    parts = [row.partition_key or "all of it"]
    if row.columns is not None:
        parts.append(f"columns {', '.join(row.columns)}")
    if row.row_filter:
        parts.append(f"rows {compact(row.row_filter)}")
    return "; ".join(parts)
