"""`knockon engine`."""

import typer

from engine.cli.global_options import GlobalOptions, command
from engine.cli.runtime.monitor import Monitor
from engine.cli.runtime.processes import engine_work
from engine.cli.runtime.services import serve
from engine.cli.runtime.session import Session, run
from engine.model.presence import ProcessKind

app = typer.Typer(add_completion=False)


@app.command()
@command
def engine(options: GlobalOptions, monitor: Monitor = None) -> None:
    """Plan invalidations, reap expired leases, fire schedules.

    Engines of an org take turns, so any number may run. With --org all, the engine serves every
    org, also those created later. SIGINT or SIGTERM stops after the current transaction.
    """

    async def work(session: Session) -> None:
        await serve(session, engine_work(session), kinds=(ProcessKind.ENGINE,))

    run(options, work, role="service", serves_all_orgs=True, monitor_address=monitor)
