"""`knockon explain`."""

from typing import Annotated

import typer

from engine.cli.call import Call, command
from engine.cli.explained import partition_tree, task_tree
from engine.cli.output import show
from engine.cli.session import run
from engine.service.queries.explain_partition import explain_partition
from engine.service.queries.explain_task import explain_task

app = typer.Typer(add_completion=False)


@app.command()
@command
def explain(
    call: Call,
    what: Annotated[
        str, typer.Argument(help="Id of a task, or name of a dataset.", metavar="TASK|DATASET")
    ],
    partition: Annotated[
        str | None, typer.Argument(help="Partition key of the dataset.", metavar="PARTITION")
    ] = None,
) -> None:
    """Explain why a task ran or waits, or why a partition is fresh or stale."""
    if partition is None:
        task = run(call, lambda session: explain_task(session.caller(), session.service, what))
        show(call, task, task_tree)
    else:
        view = run(
            call,
            lambda session: explain_partition(session.caller(), session.service, what, partition),
        )
        show(call, view, partition_tree)
