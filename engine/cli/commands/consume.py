"""`knockon consume`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import structlog
import typer

from consumers.kafka import Origin
from engine.cli.broker import broker_of
from engine.cli.call import Call, command
from engine.cli.monitor import Monitor
from engine.cli.services import serve
from engine.cli.session import Session, run
from engine.cli.wiring import consumers_of
from engine.model.event import Advance

_log = structlog.get_logger(__name__)
app = typer.Typer(add_completion=False)
_NAMED: dict[str, Origin | None] = {"stored": None, "earliest": "earliest", "latest": "latest"}


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
    begin: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="stored|earliest|latest|TIME",
            help="Where to begin in the topics. All but `stored` first move the stored positions, "
            "once and for all of the group. A time is ISO 8601, in UTC unless it says otherwise.",
        ),
    ] = "stored",
    monitor: Monitor = None,
) -> None:
    """Take in changes from the Kafka topics and PostgreSQL tables that the deployed DAGs name.

    A deploy that names others is followed. Run as many as the topics have partitions.
    """
    origin = _origin(begin)

    async def work(session: Session) -> None:
        consumers = consumers_of(session, broker_of(session.settings), group)
        if origin is not None:
            _tell(await consumers.rewind(origin))
        await serve(session, consumers.run)

    run(call, work, role="service", monitor_address=monitor)


def _origin(text: str) -> Origin | None:
    if text in _NAMED:
        return _NAMED[text]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not stored, earliest, latest or a time such as 2013-02-01T12:00Z",
            param_hint="--from",
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _tell(moved: Sequence[Advance]) -> None:
    for each in moved:
        _log.info("position moved", stream=each.stream, before=each.before, after=each.after)
    if not moved:
        _log.info("no position had to be moved")
