"""`knockon up`."""

import logging
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from engine.cli.commands.worker import pool_size
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import console, show
from engine.cli.runtime.broker import running_broker
from engine.cli.runtime.consumers import consumer_work
from engine.cli.runtime.http import HttpService, Listen, LocalKey, local_http_service, local_key
from engine.cli.runtime.monitor import Monitor
from engine.cli.runtime.processes import engine_work, worker_for
from engine.cli.runtime.services import serve
from engine.cli.runtime.session import Session, load_settings, run
from engine.cli.runtime.topics import TopicCreator
from engine.embedded.broker import Broker, EmbeddedBroker
from engine.loops.orgs import Work
from engine.model.presence import ProcessKind
from engine.secrets import clear_environment
from engine.store.addresses import display_url
from engine.wording import counted
from engine.worker.code_path import add_code_directories, directories_of

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class _Summary:
    database: str
    kafka: str
    org: str
    workers: int
    home: str
    url: str | None
    key: str | None


@app.command()
@command
def up(
    options: GlobalOptions,
    workers: Annotated[int, typer.Option("--workers", "-w", min=0, help="Number of workers.")] = 1,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Run the demo first, and keep the result for exploration."),
    ] = False,
    listen: Listen = None,
    monitor: Monitor = None,
) -> None:
    """Run the engine, consumers, workers and the HTTP service in one process.

    An embedded database, with data under KNOCKON_HOME, and an embedded broker serve this and other
    commands unless servers are set. The broker keeps messages in memory: messages not
    yet read are lost when the command ends. The key of the HTTP service acts for a local admin, and
    is revoked at the end. SIGINT or SIGTERM finishes running tasks and stops.
    """

    async def work(session: Session) -> None:
        clear_environment()
        add_code_directories(directories_of(session.settings.code_path))
        with running_broker(session.settings) as broker:
            if demo:
                await _demo(session, broker)
            services = _services(session, broker, workers)
            async with local_http_service(session) as http, local_key(session) as key:
                if http is not None:
                    services.append(http.run)
                show(options, _summary(session, broker, workers, http, key), _text)
                await serve(session, *services, kinds=tuple(ProcessKind))

    concurrency = load_settings(options).concurrency
    pool = pool_size(concurrency, workers)
    run(
        options,
        work,
        role="host",
        serves_all_orgs=not demo,
        database_pool=pool,
        monitor_address=monitor,
        http_address=listen,
    )


async def _demo(session: Session, broker: Broker) -> None:
    """Run the demo without log lines; imported here, so that `up` alone starts faster."""
    from engine.cli.demo.demo import run_demo

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.WARNING)
    await run_demo(session, broker, console())
    root.setLevel(level)


def _services(session: Session, broker: Broker, workers: int) -> list[Work]:
    worker_loops = [worker_for(session) for _ in range(workers)]
    services: list[Work] = [
        engine_work(session),
        consumer_work(session, broker),
        *(worker.run for worker in worker_loops),
    ]
    if isinstance(broker, EmbeddedBroker):
        services.append(TopicCreator(session, broker).run)
    return services


def _summary(
    session: Session, broker: Broker, workers: int, http: HttpService | None, key: LocalKey
) -> _Summary:
    settings = session.settings
    configured = settings.database_url
    return _Summary(
        database=display_url(configured) if configured else session.database.url,
        kafka=broker.bootstrap_servers,
        org=settings.org,
        workers=workers,
        home=str(settings.home.resolve()),
        url=None if http is None else http.url,
        key=None if http is None else key.key,
    )


def _text(summary: _Summary) -> Group:
    rows = {
        "database": summary.database,
        "kafka": summary.kafka,
        "org": summary.org,
        "running": f"engine, consumers, {counted(summary.workers, 'worker')}",
        "http": summary.url or "not served, for the reason above",
        "key": summary.key or "none",
    }
    lines = [
        Text.assemble((f"{name:<10}", "bold"), value, no_wrap=True) for name, value in rows.items()
    ]
    return Group(Text("Knockon is up.", "bold green"), *lines, Text("Ctrl-C stops it.", "dim"))
