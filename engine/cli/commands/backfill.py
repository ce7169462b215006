"""`knockon backfill`."""

from typing import Annotated

import typer
from rich.text import Text

from engine.cli.commands._scope_options import split_values
from engine.cli.commands.impact import report
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import short
from engine.cli.runtime.session import Session, run
from engine.cli.runtime.wait import Timeout, Wait, check_wait, wait_for
from engine.service.commands.backfills import backfill as request_backfill
from engine.service.commands.backfills import propose_backfill
from engine.wording import some

app = typer.Typer(add_completion=False)


@app.command()
@command
def backfill(
    options: GlobalOptions,
    target: Annotated[
        str,
        typer.Argument(
            help="Dataset, or job (JOB or DAG.JOB) with the dataset.", metavar="DATASET|JOB"
        ),
    ],
    keys: Annotated[
        list[str],
        typer.Argument(
            help="Keys or ranges, like 2013-02-01..2013-02-07; * for an unpartitioned dataset.",
            metavar="KEYS",
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Preview the backfill, as a plan to apply.")
    ] = False,
    wait: Wait = False,
    timeout: Timeout = None,
) -> None:
    """Build partitions, whether they exist or not, and recompute their dependents.

    Beyond a limit the backfill is pending approval.
    """
    check_wait(wait=wait, dry_run=dry_run)
    partitions = split_values(keys) or ()

    async def work(session: Session) -> None:
        caller, service = session.caller(), session.service
        if dry_run:
            show(options, await propose_backfill(caller, service, target, partitions), report)
            return
        requested = await request_backfill(caller, service, target, partitions)
        ids = some(map(short, requested.invalidations))
        show(options, requested, lambda _: Text(f"{target} {some(partitions)} requested  {ids}"))
        if wait:
            await wait_for(session, requested.invalidations, timeout)

    run(options, work)
