"""`knockon explain`."""

from typing import Annotated

import typer

from engine.api.explain_partition import ExplainedPartition, explain_partition
from engine.api.explain_task import ExplainedTask, explain_task
from engine.api.tasks import task_id
from engine.cli.call import Call, command
from engine.cli.explained import partition_tree, task_tree
from engine.cli.output import show
from engine.cli.session import Session, run

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
        show(call, run(call, lambda session: _task(session, what)), task_tree)
    else:
        show(call, run(call, lambda session: _partition(session, what, partition)), partition_tree)


async def _task(session: Session, text: str) -> ExplainedTask:
    async with session.connection() as conn:
        return await explain_task(conn, session.scene, await task_id(conn, session.scene, text))


async def _partition(session: Session, dataset: str, partition: str) -> ExplainedPartition:
    async with session.connection() as conn:
        return await explain_partition(conn, session.scene, dataset, partition)
