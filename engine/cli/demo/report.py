"""What people see of the demo: short sentences and tables."""

from collections.abc import Iterable, Sequence
from textwrap import dedent

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from engine.cli.demo.changes import Change
from engine.cli.demo.verify import Comparison
from engine.cli.demo.wave import Hit, Wave
from engine.cli.render.elements import empty_table
from engine.service.queries.pruning import PrunedEdge
from engine.wording import counted, some


def done(console: Console, text: str, seconds: float) -> None:
    """One step that went well, and how long it took."""
    console.print(Text.assemble(("✓ ", "bold green"), text, (f"  {seconds:.1f} s", "dim")))


def heading(console: Console, text: str) -> None:
    """A line across the screen."""
    console.print()
    console.print(Rule(Text(text, style="bold"), align="left", style="cyan"))


def show_total(console: Console, built: Wave, waves: Sequence[Wave]) -> None:
    """Print what the changes have cost, beside what building all has."""
    ran = sum(wave.ran for wave in waves)
    seconds = sum(wave.seconds for wave in waves)
    console.print(
        f"\nThree changes cost {ran:,} partitions and {seconds:.1f} seconds; "
        f"building all {built.made:,} took {built.seconds:.0f}."
    )


def show_change(console: Console, change: Change, rows: int, wave: Wave) -> None:
    """Print how a change was heard of, what it hit, what it left alone and why, and the sum."""
    _indented(console, Text(dedent(change.sql).strip(), style="dim"))
    _indented(console, Text(f"{counted(rows, 'row')} corrected. Told by {change.way}."))
    _indented(console, _hits(wave.hits))
    if wave.pruned:
        _indented(console, _left_alone(wave.pruned))
    done(console, _sum(wave), wave.seconds)


def show_comparisons(console: Console, comparisons: Sequence[Comparison]) -> None:
    """Print each table's rows, and where it differs from the rebuild."""
    table = empty_table("table", "rows>", "surplus>", "missing>", "")
    for each in comparisons:
        verdict = Text("same", style="green") if each.is_equal else Text("differs", "bold red")
        numbers = (f"{number:,}" for number in (each.rows, each.surplus, each.missing))
        table.add_row(each.table, *numbers, verdict)
    _indented(console, table)


def show_difference(console: Console, comparisons: Iterable[Comparison]) -> None:
    """Name the tables that are wrong, with the number of rows that differ."""
    for each in comparisons:
        console.print(
            Text.assemble(
                ("✗ ", "bold red"),
                f"{each.table} is not what a rebuild gives: {each.surplus:,} of its rows are not "
                f"in the rebuild, and {each.missing:,} rows of the rebuild are missing",
            )
        )


def _indented(console: Console, what: RenderableType) -> None:
    console.print(Padding(what, (0, 0, 0, 2)))


def _hits(hits: Iterable[Hit]) -> RenderableType:
    table = empty_table("hit", "partitions", "planned>", "ran>", "changed>")
    for hit in hits:
        numbers = (f"{number:,}" for number in (hit.planned, hit.ran, hit.changed))
        table.add_row(hit.job, some(hit.partitions, 2), *numbers, style="" if hit.ran else "dim")
    return table


def _left_alone(edges: Iterable[PrunedEdge]) -> RenderableType:
    table = empty_table("left alone", "though it reads", "because")
    for edge in edges:
        table.add_row(edge.job, edge.dataset, edge.detail)
    return table


def _sum(wave: Wave) -> str:
    text = f"{wave.ran:,} of {wave.made:,} partitions ran"
    if wave.withdrawn:
        text += f"; {wave.withdrawn:,} more had no need to, for what they read came out the same"
    return text
