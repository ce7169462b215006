"""`knockon sweep`."""

from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text
from rich.tree import Tree

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.runtime.session import Session, run
from engine.errors import InvalidInput
from engine.model.dag_fields import to_seconds
from engine.service.commands.sweeps import SweepPreview, Swept, preview_sweep
from engine.service.commands.sweeps import sweep as sweep_versions
from engine.wording import counted, some

_DAY = 86_400
app = typer.Typer(add_completion=False)


@app.command()
@command
def sweep(
    options: GlobalOptions,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            help="Time since a version was last current; default: KNOCKON_VERSION_DAYS.",
            metavar="30d",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove; otherwise preview only.")] = False,
) -> None:
    """Remove DAG versions that are no longer current, with the records of their partitions.

    Engines do so once an hour. Tables and their rows stay.
    """
    days = None if older_than is None else _days(older_than)

    async def work(session: Session) -> Swept | SweepPreview:
        operation = sweep_versions if yes else preview_sweep
        period = session.settings.version_days if days is None else days
        return await operation(session.caller(), session.service, period)

    show(options, run(options, work), _rendered)


def _days(text: str) -> float:
    try:
        return float(to_seconds(text)) / _DAY
    except (ValueError, TypeError):
        raise InvalidInput(f"{text!r} is not a duration: write 30d, 12h, 10m or 90s") from None


def _rendered(view: Swept | SweepPreview) -> RenderableType:
    if isinstance(view, Swept):
        return Text(f"removed: {_counts(view)}")
    tree = Tree(Text(f"would be removed: {_counts(view.rows)}, about {view.bytes:,} bytes"))
    dags = sorted({version.dag for version in view.versions})
    for dag in dags:
        numbers = [version.number for version in view.versions if version.dag == dag]
        tree.add(Text.assemble((dag, "bold"), f"  version {some(sorted(numbers), most=20)}"))
    if view.rows != Swept():
        tree.add(Text("--yes removes them", "dim"))
    return tree


def _counts(swept: Swept) -> str:
    return ", ".join(
        (
            counted(swept.dag_versions, "DAG version"),
            counted(swept.dataset_versions, "dataset version"),
            counted(swept.partitions, "partition record"),
            counted(swept.inputs, "input record"),
        )
    )
