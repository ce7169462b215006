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
    """Plan what was invalidated, reap what was abandoned, fire what is scheduled.

    Run as many as you like: they take turns. SIGINT or SIGTERM finishes what is in hand.
    """

    async def work(session: Session) -> None:
        engine = Engine(session.database, session.scene, session.settings)
        await serve(session, engine.run, has_engine=True)

    run(call, work, role="service", monitor_address=monitor)
