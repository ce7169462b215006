"""`knockon worker`."""

from collections.abc import Mapping
from typing import Annotated

import typer

from engine.cli.global_options import GlobalOptions, command
from engine.cli.runtime.monitor import Monitor
from engine.cli.runtime.processes import worker_for
from engine.cli.runtime.services import serve
from engine.cli.runtime.session import Session, run
from engine.errors import UnknownName
from engine.model.presence import ProcessKind
from engine.secrets import clear_environment
from engine.worker.code_path import add_code_directories, directories_of
from engine.worker.runtimes import Runtime, installed_runtimes

app = typer.Typer(add_completion=False)


@app.command()
@command
def worker(
    options: GlobalOptions,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency",
            "-c",
            min=1,
            help="Number of concurrent tasks; default: KNOCKON_CONCURRENCY.",
            show_default=False,
        ),
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option("--runtime", help="Runtime to serve; repeatable; default: all installed."),
    ] = None,
    monitor: Monitor = None,
) -> None:
    """Claim tasks and run them.

    Any number of workers may run. With --org all, a worker divides its slots among all orgs. SIGINT
    or SIGTERM finishes running tasks; a second signal drops running tasks, which run again on any
    worker after the leases expire.
    """

    async def work(session: Session) -> None:
        clear_environment()
        add_code_directories(directories_of(session.settings.code_path))
        worker = worker_for(session, choose_runtimes(installed_runtimes(), runtime))
        await serve(session, worker.run, kinds=(ProcessKind.WORKER,))

    run(
        options,
        work,
        role="service",
        serves_all_orgs=True,
        concurrency=concurrency,
        database_pool=pool_size(concurrency),
        monitor_address=monitor,
    )


def pool_size(concurrency: int | None, workers: int = 1) -> int | None:
    """Number of database connections for a process with workers; None: as configured."""
    return None if concurrency is None else workers * (concurrency + 2) + 6


def choose_runtimes(
    installed: Mapping[str, Runtime], names: list[str] | None
) -> Mapping[str, Runtime]:
    """The named runtimes, or all installed ones without names. Raises UnknownName."""
    if not names:
        return installed
    unknown = sorted(set(names) - installed.keys())
    if unknown:
        raise UnknownName(
            f"there is no runtime {unknown[0]!r}: installed are {', '.join(sorted(installed))}"
        )
    return {name: installed[name] for name in names}
