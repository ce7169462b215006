"""`knockon engine`."""

import typer

from engine.cli.call import Call, command
from engine.cli.monitor import Monitor
from engine.cli.services import serve
from engine.cli.session import Session, run
from engine.loops.engine import Engine

app = typer.Typer(add_completion=False)


@app.command()
@command
def engine(call: Call, monitor: Monitor = None) -> None:
    """Plan invalidations, reap expired leases, fire schedules.

    Engines of an org take turns, so any number may run. SIGINT or SIGTERM stops after the current
    transaction.
    """

    async def work(session: Session) -> None:
        engine = Engine(session.database, session.org_context, session.settings)
        await serve(session, engine.run, has_engine=True)

    run(call, work, role="service", monitor_address=monitor)
