"""The demo from start to end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from rich.console import Console
from rich.text import Text

from engine.cli.demo import report
from engine.cli.demo.changes import CHANGES, WEATHER_TOPIC, Change, publish, request
from engine.cli.demo.example import example_file, read_example
from engine.cli.demo.load import load_sources
from engine.cli.demo.stage import Stage, running
from engine.cli.demo.verify import compare, rebuild
from engine.cli.demo.wave import Wave, read_wave
from engine.cli.runtime.consumers import consumers_for
from engine.cli.runtime.session import Session, open_session
from engine.cli.runtime.wait import wait_for
from engine.embedded.broker import Broker, EmbeddedBroker
from engine.embedded.postgres import EmbeddedPostgres
from engine.errors import UnknownName
from engine.loops.engine import Engine
from engine.model.dag import DagFile
from engine.model.dagfile import parse_dag
from engine.model.event import SourceEvent
from engine.model.states import Activation, Reason
from engine.service.commands.attachments import attach
from engine.service.commands.deploys import deploy
from engine.service.queries.lineage import lineage_tree
from engine.settings import Settings
from engine.store.rows.demo import LastDay
from engine.store.run import fetch
from engine.worker.worker import Worker

_TEMPORARY = {
    "database_url": None,
    "source_url": None,
    "kafka_bootstrap_servers": None,
    "concurrency": 4,
}


def demo(settings: Settings, console: Console, days: int = 365) -> int:
    """Run the demo on temporary servers; return 0 if every table is correct, else 1.

    Raises ServiceUnavailable if the servers cannot be started, and the errors of `run_demo`.
    """
    return asyncio.run(_run_on_temporary_servers(settings, console, days))


async def run_demo(session: Session, broker: Broker, console: Console, days: int = 365) -> int:
    """Load ``days`` of the year, build, change and verify; return 0 if all is correct, else 1.

    Does nothing if the demo has run before. Raises ServiceUnavailable or TaskFailed.
    """
    stage = Stage(session, broker)
    if await _has_run_before(stage):
        console.print("The demo has run here before; see the tables in the schema nyc.")
        return 0
    await _load(stage, console, days)
    dag = await _deploy(stage, console)
    await _build_and_change(stage, console)
    return await _verify(stage, console, _output_tables(dag))


async def _has_run_before(stage: Stage) -> bool:
    try:
        await lineage_tree(stage.session.caller(), stage.session.service, "flights")
    except UnknownName:
        return False
    return True


async def _build_and_change(stage: Stage, console: Console) -> None:
    """Build everything, then make one change after another."""
    session, since = stage.session, await stage.now()
    await _report_sources(stage)
    async with running(consumers_for(session, stage.broker).run):
        await _wait_for_sources(stage, console, since)
        engine = Engine(session.database, session.org_context, session.settings)
        worker = Worker(session.database, session.org_context, session.settings)
        async with running(engine.run, worker.run):
            built = await _build(stage, console, since)
            waves = [
                await _change(stage, console, change, f"Change {number} of {len(CHANGES)}")
                for number, change in enumerate(CHANGES, 1)
            ]
    report.show_total(console, built, waves)


async def _run_on_temporary_servers(settings: Settings, console: Console, days: int) -> int:
    start = monotonic()
    async with _temporary_servers(settings) as (session, broker):
        report.done(console, "PostgreSQL and a Kafka broker are up", monotonic() - start)
        code = await run_demo(session, broker, console, days)
    console.print(Text(f"The demo took {monotonic() - start:.0f} seconds.", style="dim"))
    return code


@asynccontextmanager
async def _temporary_servers(settings: Settings) -> AsyncIterator[tuple[Session, Broker]]:
    """A temporary database and broker."""
    own = settings.model_copy(update=_TEMPORARY)
    with TemporaryDirectory(prefix="knockon-demo-") as directory:
        server = EmbeddedPostgres(Path(directory) / "postgres", durable=False)
        with server, EmbeddedBroker() as broker:
            async with open_session(own, server.url, creates_org=True) as session:
                yield session, broker


async def _load(stage: Stage, console: Console, days: int) -> None:
    start = monotonic()
    async with stage.session.connection() as conn:
        rows = await load_sources(conn, days)
    counts = ", ".join(f"{number:,} {table}" for table, number in rows.items())
    report.done(console, f"New York's 2013 is loaded: {counts}", monotonic() - start)


async def _deploy(stage: Stage, console: Console) -> DagFile:
    start = monotonic()
    dag = parse_dag(read_example("flights.yaml"), where=str(example_file("flights.yaml")))
    await deploy(stage.session.caller(), stage.session.service, [dag])
    sources = sum(job.activation == Activation.SOURCE for job in dag.jobs)
    text = f"flights.yaml is deployed: {sources} sources, {len(dag.jobs) - sources} jobs"
    report.done(console, text, monotonic() - start)
    return dag


async def _report_sources(stage: Stage) -> None:
    """Report the existing content of each source, each in a different way."""
    await stage.broker.create_topic(WEATHER_TOPIC)
    session = stage.session
    url = session.database.url
    await attach(session.caller(), session.service, "nyc.flights", "flights", source_url=url)
    async with session.connection() as conn:
        (last,) = await fetch(conn, "demo.last_day_of_weather", LastDay)
    await publish(stage, _arrival("weather", f"dt=2013-01-01..{last.day}"))
    for dataset in ("planes", "airports", "airlines"):
        await request(stage, _arrival(dataset))


def _arrival(dataset: str, *partitions: str) -> SourceEvent:
    return SourceEvent(
        dataset=dataset, partitions=partitions or None, reason=Reason.ARRIVAL, source="demo"
    )


async def _wait_for_sources(stage: Stage, console: Console, since: datetime) -> None:
    """Wait for all reports: with a later engine start, everything is built once."""
    start = monotonic()
    await stage.invalidations(since, "flights", "weather", "planes", "airports", "airlines")
    report.done(console, "All five sources have reported their content", monotonic() - start)


async def _build(stage: Stage, console: Console, since: datetime) -> Wave:
    await wait_for(stage.session, await stage.invalidations(since))
    wave = await read_wave(stage, since)
    text = f"All {wave.total:,} partitions of {len(wave.jobs)} tables are built, each once"
    report.done(console, text, wave.seconds)
    return wave


async def _change(stage: Stage, console: Console, change: Change, number: str) -> Wave:
    since = await stage.now()
    rows = await change.make(stage)
    await wait_for(stage.session, await stage.invalidations(since, change.event.dataset))
    wave = await read_wave(stage, since)
    report.heading(console, f"{number}: {change.title}")
    report.show_change(console, change, rows, wave)
    return wave


def _output_tables(dag: DagFile) -> list[str]:
    outputs = (
        out for job in dag.jobs if job.activation != Activation.SOURCE for out in job.outputs
    )
    return [str(output.storage["table"]) for output in outputs]


async def _verify(stage: Stage, console: Console, tables: list[str]) -> int:
    """Compare all tables with a rebuild from scratch."""
    report.heading(console, "Verification: all tables against a rebuild in plain SQL")
    start = monotonic()
    async with stage.session.connection() as conn:
        await rebuild(conn)
        comparisons = await compare(conn, tables)
    report.show_comparisons(console, comparisons)
    wrong = [comparison for comparison in comparisons if not comparison.is_equal]
    report.show_difference(console, wrong)
    if not wrong:
        text = f"All {len(tables)} tables are the same, row for row"
        report.done(console, text, monotonic() - start)
    return 1 if wrong else 0
