"""`knockon consume`."""

from typing import Annotated

import typer

from engine.cli.broker import broker_of
from engine.cli.call import Call, command
from engine.cli.monitor import Monitor
from engine.cli.services import serve
from engine.cli.session import Session, run
from engine.cli.wiring import consumers_of

app = typer.Typer(add_completion=False)


@app.command()
@command
def consume(
    call: Call,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            help="The consumers' name, in Knockon and at the broker; by default knockon.<org>.",
        ),
    ] = None,
    monitor: Monitor = None,
) -> None:
    """Take in changes from the Kafka topics and PostgreSQL tables that the deployed DAGs name.

    A deploy that names others is followed. Run as many as the topics have partitions.
    """

    async def work(session: Session) -> None:
        await serve(session, consumers_of(session, broker_of(session.settings), group).run)

    run(call, work, role="service", monitor_address=monitor)
