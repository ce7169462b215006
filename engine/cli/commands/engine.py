"""`knockon engine`."""

import typer

from engine.cli.global_options import GlobalOptions, command
from engine.cli.runtime.monitor import Monitor
from engine.cli.runtime.services import serve
from engine.cli.runtime.session import Session, run
from engine.loops.engine import Engine
from engine.model.presence import ProcessKind

app = typer.Typer(add_completion=False)


@app.command()
@command
def engine(options: GlobalOptions, monitor: Monitor = None) -> None:
    """Plan invalidations, reap expired leases, fire schedules.

    Engines of an org take turns, so any number may run. SIGINT or SIGTERM stops after the current
    transaction.
    """

    async def work(session: Session) -> None:
        engine = Engine(session.database, session.org_context, session.settings)
        await serve(session, engine.run, kinds=(ProcessKind.ENGINE,))

    run(options, work, role="service", monitor_address=monitor)
