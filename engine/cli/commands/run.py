"""`knockon run`."""

from typing import Annotated

import typer
from rich.text import Text

from consumers.manual import Requested, invalidate
from engine.cli.call import Call, command
from engine.cli.output import show
from engine.cli.scope import Partitions, event_of
from engine.cli.session import Session
from engine.cli.session import run as run_session
from engine.cli.waiting import wait_for
from engine.errors import InvalidInput, UnknownName
from engine.lineage.graph import Lineage
from engine.model.source_positions import did_you_mean

app = typer.Typer(add_completion=False)


@app.command()
@command
def run(
    call: Call,
    job: Annotated[str, typer.Argument(help="Name of the job.", metavar="JOB")],
    partitions: Partitions = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when everything is recomputed.")
    ] = False,
) -> None:
    """Recompute a job's outputs, and dependents of outputs that change.

    Starts jobs with `activation: manual`.
    """

    async def work(session: Session) -> Requested:
        async with session.connection() as conn:
            dataset = first_output(await session.scene.lineage(conn), job)
            event = event_of(dataset, partitions, None, None, "manual", source="knockon run")
            requested = await invalidate(conn, session.scene, event)
        if wait:
            await wait_for(session, requested.invalidations)
        return requested

    show(call, run_session(call, work), lambda _: Text(f"job {job} is to run"))


def first_output(lineage: Lineage, name: str) -> str:
    """The dataset by which a job is started. Raises UnknownName, InvalidInput."""
    jobs = {job.name: job for job in lineage.order}
    if name not in jobs:
        raise UnknownName(f"there is no job {name!r}{did_you_mean(name, jobs)}")
    dataset = lineage.dataset(jobs[name].outputs[0]).name
    if jobs[name].activation == "source":
        raise InvalidInput(
            f"nothing runs for the source job {name!r}: "
            f"'knockon invalidate {dataset}' says that it changed"
        )
    return dataset
