"""Output of the demo."""

from collections.abc import Iterable, Sequence
from textwrap import dedent

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from engine.cli.demo.changes import Change
from engine.cli.demo.verify import Comparison
from engine.cli.demo.wave import JobCount, Wave
from engine.cli.render.elements import empty_table
from engine.service.queries.pruning import PrunedEdge
from engine.wording import counted, some


def done(console: Console, text: str, seconds: float) -> None:
    """Print a completed step with its duration."""
    console.print(Text.assemble(("✓ ", "bold green"), text, (f"  {seconds:.1f} s", "dim")))


def heading(console: Console, text: str) -> None:
    """Print a heading."""
    console.print()
    console.print(Rule(Text(text, style="bold"), align="left", style="cyan"))


def show_total(console: Console, built: Wave, waves: Sequence[Wave]) -> None:
    """Print the cost of the changes next to the cost of the first build."""
    ran = sum(wave.ran for wave in waves)
    seconds = sum(wave.seconds for wave in waves)
    console.print(
        f"\nThree changes cost {ran:,} partitions and {seconds:.1f} seconds; "
        f"building all {built.total:,} partitions took {built.seconds:.0f}."
    )


def show_change(console: Console, change: Change, rows: int, wave: Wave) -> None:
    """Print a change: report, recomputed jobs, unaffected jobs with reasons, and totals."""
    _indented(console, Text(dedent(change.sql).strip(), style="dim"))
    _indented(console, Text(f"{counted(rows, 'row')} corrected. Reported by {change.reported_by}."))
    _indented(console, _jobs_table(wave.jobs))
    if wave.pruned:
        _indented(console, _unaffected_table(wave.pruned))
    done(console, _totals(wave), wave.seconds)


def show_comparisons(console: Console, comparisons: Sequence[Comparison]) -> None:
    """Print the number of rows of each table, and of differences from the rebuild."""
    table = empty_table("table", "rows>", "surplus>", "missing>", "")
    for row in comparisons:
        verdict = Text("same", style="green") if row.is_equal else Text("differs", "bold red")
        numbers = (f"{number:,}" for number in (row.rows, row.surplus, row.missing))
        table.add_row(row.table, *numbers, verdict)
    _indented(console, table)


def show_difference(console: Console, comparisons: Iterable[Comparison]) -> None:
    """Print the tables with differences, with the number of different rows."""
    for row in comparisons:
        console.print(
            Text.assemble(
                ("✗ ", "bold red"),
                f"{row.table} differs from the rebuild: {row.surplus:,} rows are not in the "
                f"rebuild, and {row.missing:,} rows of the rebuild are missing",
            )
        )


def _indented(console: Console, content: RenderableType) -> None:
    console.print(Padding(content, (0, 0, 0, 2)))


def _jobs_table(jobs: Iterable[JobCount]) -> RenderableType:
    table = empty_table("job", "partitions", "planned>", "ran>", "changed>")
    for job in jobs:
        numbers = (f"{number:,}" for number in (job.planned, job.ran, job.changed))
        table.add_row(job.job, some(job.partitions, 2), *numbers, style="" if job.ran else "dim")
    return table


def _unaffected_table(edges: Iterable[PrunedEdge]) -> RenderableType:
    table = empty_table("unaffected", "reads", "reason")
    for edge in edges:
        table.add_row(edge.job, edge.dataset, edge.detail)
    return table


def _totals(wave: Wave) -> str:
    text = f"{wave.ran:,} of {wave.total:,} partitions ran"
    if wave.skipped:
        text += f"; {wave.skipped:,} more were skipped, because their inputs did not change"
    return text
