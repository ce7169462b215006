"""The demo from beginning to end."""

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
from engine.service.commands.attachments import attach
from engine.service.commands.deploys import deploy
from engine.service.queries.lineage import lineage_tree
from engine.settings import Settings
from engine.worker.worker import Worker

_OWN = {"database_url": None, "source_url": None, "kafka_bootstrap_servers": None, "concurrency": 4}


def demo(settings: Settings, console: Console, days: int = 365) -> int:
    """Run the demo on servers of its own; 0 when every table came out right, else 1.

    Raises ServiceUnavailable where they cannot be started, and what `run_demo` raises.
    """
    return asyncio.run(_demo(settings, console, days))


async def run_demo(session: Session, broker: Broker, console: Console, days: int = 365) -> int:
    """Load, build, change and check; 0 when every table came out right, else 1.

    ``days`` is how much of the year is loaded. Where the demo has run before, nothing is done.
    Raises ServiceUnavailable or TaskFailed when it cannot go on.
    """
    stage = Stage(session, broker)
    if await _was_here(stage):
        console.print("The demo has run here before; its tables are in the schema nyc.")
        return 0
    await _load(stage, console, days)
    dag = await _deploy(stage, console)
    await _play(stage, console)
    return await _check(stage, console, _made_tables(dag))


async def _was_here(stage: Stage) -> bool:
    try:
        await lineage_tree(stage.session.caller(), stage.session.service, "flights")
    except UnknownName:
        return False
    return True


async def _play(stage: Stage, console: Console) -> None:
    """Build all that there is, then let one change after the other come in."""
    since = await stage.now()
    await _arrive(stage)
    async with running(consumers_for(stage.session, stage.broker).run):
        await _hear(stage, console, since)
        async with running(_engine(stage.session).run, _worker(stage.session).run):
            built = await _build(stage, console, since)
            waves = [
                await _change(stage, console, change, f"Change {number} of {len(CHANGES)}")
                for number, change in enumerate(CHANGES, 1)
            ]
    report.show_total(console, built, waves)


async def _demo(settings: Settings, console: Console, days: int) -> int:
    began = monotonic()
    async with _own_servers(settings) as (session, broker):
        report.done(console, "PostgreSQL and a Kafka broker are up", monotonic() - began)
        code = await run_demo(session, broker, console, days)
    console.print(Text(f"All of it took {monotonic() - began:.0f} seconds.", style="dim"))
    return code


@asynccontextmanager
async def _own_servers(settings: Settings) -> AsyncIterator[tuple[Session, Broker]]:
    """A database and a broker that nobody else uses, gone afterwards."""
    own = settings.model_copy(update=_OWN)
    with TemporaryDirectory(prefix="knockon-demo-") as place:
        server = EmbeddedPostgres(Path(place) / "postgres", durable=False)
        with server, EmbeddedBroker() as broker:
            async with open_session(own, server.url, creates_org=True) as session:
                yield session, broker


def _engine(session: Session) -> Engine:
    return Engine(session.database, session.org_context, session.settings)


def _worker(session: Session) -> Worker:
    return Worker(session.database, session.org_context, session.settings)


async def _load(stage: Stage, console: Console, days: int) -> None:
    began = monotonic()
    async with stage.session.connection() as conn:
        rows = await load_sources(conn, days)
    listed = ", ".join(f"{number:,} {table}" for table, number in rows.items())
    report.done(console, f"New York's 2013 is loaded: {listed}", monotonic() - began)


async def _deploy(stage: Stage, console: Console) -> DagFile:
    began = monotonic()
    dag = parse_dag(read_example("flights.yaml"), where=str(example_file("flights.yaml")))
    await deploy(stage.session.caller(), stage.session.service, dag)
    sources = sum(job.activation == "source" for job in dag.jobs)
    text = f"flights.yaml is deployed: {sources} sources, {len(dag.jobs) - sources} jobs"
    report.done(console, text, monotonic() - began)
    return dag


async def _arrive(stage: Stage) -> None:
    """Each source says, in the way that is its own, what it holds already."""
    await stage.broker.create_topic(WEATHER_TOPIC)
    session = stage.session
    own = session.database.url
    await attach(session.caller(), session.service, "nyc.flights", "flights", source_url=own)
    (last,) = await stage.fetch("last_day_of_weather")
    await publish(stage, _arrival("weather", f"dt=2013-01-01..{last['day']}"))
    for dataset in ("planes", "airports", "airlines"):
        await request(stage, _arrival(dataset))


def _arrival(dataset: str, *partitions: str) -> SourceEvent:
    return SourceEvent(
        dataset=dataset, partitions=partitions or None, reason="arrival", source="demo"
    )


async def _hear(stage: Stage, console: Console, since: datetime) -> None:
    """Only then may the engine begin, so that everything is built once."""
    began = monotonic()
    await stage.heard(since, "flights", "weather", "planes", "airports", "airlines")
    report.done(console, "All five sources have said what they hold", monotonic() - began)


async def _build(stage: Stage, console: Console, since: datetime) -> Wave:
    await wait_for(stage.session, await stage.heard(since))
    wave = await read_wave(stage, since)
    text = f"All {wave.made:,} partitions of {len(wave.hits)} tables are built, each once"
    report.done(console, text, wave.seconds)
    return wave


async def _change(stage: Stage, console: Console, change: Change, number: str) -> Wave:
    since = await stage.now()
    rows = await change.make(stage)
    await wait_for(stage.session, await stage.heard(since, change.event.dataset))
    wave = await read_wave(stage, since)
    report.heading(console, f"{number}: {change.title}")
    report.show_change(console, change, rows, wave)
    return wave


def _made_tables(dag: DagFile) -> list[str]:
    outputs = (out for job in dag.jobs if job.activation != "source" for out in job.outputs)
    return [str(output.storage["table"]) for output in outputs]


async def _check(stage: Stage, console: Console, tables: list[str]) -> int:
    """Rebuild everything from scratch, and hold what was built and mended against it."""
    report.heading(console, "Is it right? All tables against a rebuild in plain SQL")
    began = monotonic()
    async with stage.session.connection() as conn:
        await rebuild(conn)
        comparisons = await compare(conn, tables)
    report.show_comparisons(console, comparisons)
    wrong = [each for each in comparisons if not each.is_equal]
    report.show_difference(console, wrong)
    if not wrong:
        text = f"All {len(tables)} tables are the same, row for row"
        report.done(console, text, monotonic() - began)
    return 1 if wrong else 0
