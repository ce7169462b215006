"""`knockon explain`."""

from typing import Annotated

import typer

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.explanation import partition_tree, task_tree
from engine.cli.runtime.session import run
from engine.service.queries.explain_partition import explain_partition
from engine.service.queries.explain_task import explain_task

app = typer.Typer(add_completion=False)


@app.command()
@command
def explain(
    options: GlobalOptions,
    subject: Annotated[
        str, typer.Argument(help="Id of a task, or name of a dataset.", metavar="TASK|DATASET")
    ],
    partition: Annotated[
        str | None,
        typer.Argument(
            help="Partition key, required with DATASET; '*' for a dataset without partitions.",
            metavar="PARTITION",
        ),
    ] = None,
) -> None:
    """Explain why a task ran or waits, or why a partition is fresh or stale."""
    if partition is None:
        task = run(
            options, lambda session: explain_task(session.caller(), session.service, subject)
        )
        show(options, task, task_tree)
    else:
        view = run(
            options,
            lambda session: explain_partition(
                session.caller(), session.service, subject, partition
            ),
        )
        show(options, view, partition_tree)
