"""`knockon verify`."""

from secrets import randbelow
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import empty_table
from engine.cli.runtime.session import run
from engine.errors import InvalidInput
from engine.service.commands.verify import Comparison, Outcome, Verification, Verified
from engine.service.commands.verify import verify as verify_partitions
from engine.wording import counted

app = typer.Typer(add_completion=False)


@app.command()
@command
def verify(
    options: GlobalOptions,
    dataset: Annotated[
        str | None, typer.Argument(help="Dataset to verify; default: all.", metavar="[DATASET]")
    ] = None,
    sample: Annotated[
        str, typer.Option("--sample", help="Share of the partitions of each job, at least one.")
    ] = "1%",
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of an earlier run, for its sample.")
    ] = None,
) -> None:
    """Recompute a sample of partitions, and compare it with the stored data.

    Nothing is changed. Exit with 1 if any partition differs, or cannot be recomputed. Stale
    partitions, and those with pending work, are skipped.
    """
    share, chosen = _share(sample), randbelow(2**31) if seed is None else seed
    result = run(
        options,
        lambda session: verify_partitions(
            session.caller(), session.service, dataset, share=share, seed=chosen
        ),
    )
    show(options, result, _report)
    if result.count(Outcome.DIFFERENT) or result.count(Outcome.FAILED):
        raise typer.Exit(1)


def _share(text: str) -> float:
    number = text.removesuffix("%")
    try:
        if number == text:
            raise ValueError
        return float(number) / 100
    except ValueError:
        raise InvalidInput(f"--sample {text!r} is not a percentage such as 1% or 0.5%") from None


def _report(result: Verification) -> RenderableType:
    different, failed = result.count(Outcome.DIFFERENT), result.count(Outcome.FAILED)
    summary = Text.assemble(
        f"{counted(len(result.partitions), 'partition')} sampled with seed {result.seed}: ",
        f"{result.count(Outcome.EQUAL):,} equal, {result.count(Outcome.SKIPPED):,} skipped, ",
        (f"{different:,} different, {failed:,} failed", "bold red" if different or failed else ""),
    )
    parts: list[RenderableType] = [summary]
    if shown := [each for each in result.partitions if each.outcome != Outcome.EQUAL]:
        parts.append(_table(shown))
    parts += [
        Text(f"{each.dag}.{each.job} cannot be verified: {each.reason}", "dim")
        for each in result.unverifiable
    ]
    return Group(*parts)


def _table(partitions: list[Verified]) -> RenderableType:
    table = empty_table("job", "partition", "outcome", "details")
    for each in partitions:
        details = [each.detail] if each.detail else map(_difference, each.comparisons)
        name = f"{each.dag}.{each.job}"
        table.add_row(name, each.partition, each.outcome, "\n".join(details))
    return table


def _difference(comparison: Comparison) -> str:
    if comparison.is_equal:
        return f"{comparison.dataset}: equal"
    stored = counted(comparison.rows, "stored row")
    lines = [
        f"{comparison.dataset}: of {stored}, {comparison.surplus:,} would not be computed, and "
        f"{comparison.missing:,} are missing",
        *(f"- {row}" for row in comparison.surplus_rows),
        *(f"+ {row}" for row in comparison.missing_rows),
    ]
    return "\n".join(lines)
