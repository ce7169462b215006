"""`knockon run`."""

from typing import Annotated

import typer
from rich.text import Text

from engine.cli.commands._scope_options import Partitions, split_values
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.runtime.session import Session
from engine.cli.runtime.session import run as run_session
from engine.cli.runtime.wait import Timeout, Wait, wait_for
from engine.service.commands.jobs import run as run_job

app = typer.Typer(add_completion=False)


@app.command()
@command
def run(
    options: GlobalOptions,
    job: Annotated[str, typer.Argument(help="Name of the job, or DAG.JOB.", metavar="JOB")],
    partitions: Partitions = None,
    wait: Wait = False,
    timeout: Timeout = None,
) -> None:
    """Recompute a job's outputs, and the dependents of changed outputs.

    Also starts jobs with `activation: manual`.
    """

    async def work(session: Session) -> None:
        requested = await run_job(session.caller(), session.service, job, split_values(partitions))
        show(options, requested, lambda _: Text(f"run of job {job} requested"))
        if wait:
            await wait_for(session, requested.invalidations, timeout)

    run_session(options, work)
