"""`knockon audit`."""

from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import empty_table
from engine.cli.runtime.session import run
from engine.service.commands.audit import mend as mend_lost
from engine.service.queries.audit import Counts, StalePartition, StaleReason, StaleRule
from engine.service.queries.audit import audit as audit_partitions
from engine.wording import counted

app = typer.Typer(add_completion=False)
_MAX_REASONS = 3


@app.command()
@command
def audit(
    options: GlobalOptions,
    dataset: Annotated[
        str | None, typer.Argument(help="Dataset to audit; default: all.", metavar="[DATASET]")
    ] = None,
    mend: Annotated[bool, typer.Option("--mend", help="Invalidate lost partitions.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, help="Maximum number of partitions to list.")
    ] = 100,
) -> None:
    """Check every partition for lost work; exit with 1 if any partition is lost.

    A stale partition is in hand if a task or an unplanned invalidation leads to the partition, left
    after a decision or a limit, and lost otherwise. Engines run the audit with --mend.
    """
    operation = mend_lost if mend else audit_partitions
    counts = run(
        options,
        lambda session: operation(session.caller(), session.service, dataset, limit=limit),
    )
    show(options, counts, lambda counts: _report(counts, mend=mend))
    if counts.lost and not mend:
        raise typer.Exit(1)


def _report(counts: Counts, *, mend: bool) -> RenderableType:
    style = "bold red" if counts.lost else "bold green"
    summary = Text.assemble(
        f"{counted(counts.partitions, 'partition')} checked: ",
        f"{counts.in_hand:,} stale in hand, {counts.left:,} left by decision, ",
        (f"{counts.lost:,} lost", style),
    )
    parts: list[RenderableType] = [summary]
    if counts.shown:
        parts.append(_stale_table(counts.shown))
    if counts.lost and mend:
        parts.append(Text("invalidated the lost partitions: see 'knockon status'", "yellow"))
    elif counts.lost:
        parts.append(Text("knockon audit --mend recomputes the lost partitions", "yellow"))
    return Group(*parts)


def _stale_table(stale: list[StalePartition]) -> RenderableType:
    table = empty_table("dataset", "partition", "verdict", "stale because", "left because")
    for row in stale:
        reasons = "\n".join(map(reason_text, row.reasons[:_MAX_REASONS]))
        if len(row.reasons) > _MAX_REASONS:
            reasons += f"\nand {len(row.reasons) - _MAX_REASONS} more"
        table.add_row(row.dataset, row.partition, row.verdict, reasons, row.explained_by or "")
    return table


def reason_text(reason: StaleReason) -> str:
    """A reason in words."""
    if reason.dataset is None:
        return {
            StaleRule.DEFINITION: "the definition of the job has changed",
            StaleRule.NEVER_BUILT: "never built",
            StaleRule.PARTLY_WRITTEN: "an attempt may have written part of the partition",
            StaleRule.DECLARED_WRONG: "declared wrong, and not rebuilt since",
            StaleRule.ROWS_NOT_READ: "changed rows were not read (task canceled or plan rejected)",
            StaleRule.NEW_ROWS_NOT_READ: "new rows were not read (task canceled or plan rejected)",
            StaleRule.INVALIDATED: "an open invalidation covers the partition",
            StaleRule.STALLED: "the task waits only for ended tasks",
        }.get(reason.rule, reason.rule)
    return f"{reason.rule}: {reason.dataset} {reason.partition}"
