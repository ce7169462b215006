"""`knockon schedules`."""

from datetime import datetime
from zoneinfo import ZoneInfo

import typer
from rich.console import RenderableType
from rich.text import Text

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import ago, empty_table
from engine.cli.runtime.session import run
from engine.service.queries.schedules import ScheduleRow
from engine.service.queries.schedules import schedules as list_schedules
from engine.wording import some

app = typer.Typer(add_completion=False)


@app.command()
@command
def schedules(options: GlobalOptions) -> None:
    """List the schedules of sources, the next to fire first, with the partitions that change."""
    rows = run(options, lambda session: list_schedules(session.caller(), session.service))
    show(options, rows, _table)


def _table(rows: list[ScheduleRow]) -> RenderableType:
    if not rows:
        return Text("no schedules: no deployed source has source: {kind: schedule}", "dim")
    table = empty_table("dataset|", "dag", "cron|", "zone|", "last|", "next|", "changes then")
    for row in rows:
        name = Text(row.dataset, "cyan")
        if row.pause:
            name.append("  paused", "bold yellow")
        last, next_ = ago(row.last_at) or "never", _next(row)
        table.add_row(name, row.dag, row.cron, row.zone, last, next_, _changes(row))
    return table


def _next(row: ScheduleRow) -> Text:
    time = _local(row.next_at, row.zone)
    return Text(f"{time}, overdue", "bold red") if row.is_overdue else Text(time)


def _local(time: datetime, zone: str) -> str:
    return f"{time.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"


def _changes(row: ScheduleRow) -> str:
    if row.next_partitions is None:
        return "the whole dataset"
    return some(row.next_partitions, 3) or "nothing: outside the bounds"
