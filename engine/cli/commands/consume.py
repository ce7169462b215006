"""`knockon consume`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import structlog
import typer

from consumers.kafka import Origin
from engine.cli.global_options import GlobalOptions, command
from engine.cli.runtime.broker import find_broker
from engine.cli.runtime.consumers import consumer_work, consumers_for
from engine.cli.runtime.monitor import Monitor
from engine.cli.runtime.services import serve
from engine.cli.runtime.session import Session, run
from engine.model.event import Advance
from engine.model.presence import ProcessKind

_log = structlog.get_logger(__name__)
app = typer.Typer(add_completion=False)
_ORIGINS: dict[str, Origin | None] = {"stored": None, "earliest": "earliest", "latest": "latest"}


@app.command()
@command
def consume(
    options: GlobalOptions,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            help="Name of the consumer group; default: knockon.<org>.",
        ),
    ] = None,
    begin: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="stored|earliest|latest|TIME",
            help="Start position in the topics. All but `stored` move the group's stored positions "
            "at every start. A time is ISO 8601, in UTC unless an offset is given.",
        ),
    ] = "stored",
    monitor: Monitor = None,
) -> None:
    """Ingest changes from the Kafka topics and PostgreSQL tables named by deployed DAGs.

    Deploys of new sources take effect without a restart. With --org all, the sources of every org
    are consumed. Run up to as many consumers as the topics
    have partitions.
    """
    origin = _origin(begin)

    async def work(session: Session) -> None:
        broker = find_broker(session.settings)
        work = consumer_work(session, broker)
        if not session.org.is_all:
            consumers = consumers_for(session, broker, group)
            if origin is not None:
                _log_moves(await consumers.rewind(origin))
            work = consumers.run
        await serve(session, work, kinds=(ProcessKind.CONSUMER,))

    serves_all_orgs = group is None and origin is None
    run(options, work, role="service", serves_all_orgs=serves_all_orgs, monitor_address=monitor)


def _origin(text: str) -> Origin | None:
    if text in _ORIGINS:
        return _ORIGINS[text]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not stored, earliest, latest or a time such as 2013-02-01T12:00Z",
            param_hint="--from",
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _log_moves(moves: Sequence[Advance]) -> None:
    for move in moves:
        _log.info("position moved", stream=move.stream, before=move.before, after=move.after)
    if not moves:
        _log.info("all positions are already there")
