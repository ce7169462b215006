"""The tree of commands; the code of a command is imported on its first use, to keep help fast."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from engine.cli.global_options import GlobalOptions, command
from engine.printable import printable

_SETUP = "Set up"
_CHANGE = "Change"
_INSPECT = "Inspect"
_SERVE = "Run"

COMMANDS = {
    "up": (_SERVE, "Run the engine, consumers and workers in one process."),
    "engine": (_SERVE, "Plan invalidations, reap expired leases, fire schedules."),
    "worker": (_SERVE, "Claim tasks and run them."),
    "consume": (_SERVE, "Ingest changes from Kafka topics and PostgreSQL tables."),
    "serve": (_SERVE, "Serve the HTTP API for all orgs."),
    "demo": (_SERVE, "Recompute a year of flights, change by change."),
    "migrate": (_SETUP, "Upgrade the database schema."),
    "schema": (_SETUP, "Print the JSON Schema of DAG files."),
    "validate": (_SETUP, "Check DAG files without a database."),
    "deploy": (_SETUP, "Deploy DAG files."),
    "org": (_SETUP, "Show or change settings of the org."),
    "users": (_SETUP, "List, add and remove users, and change their roles."),
    "roles": (_SETUP, "List, add and remove roles of the org, and their members."),
    "keys": (_SETUP, "List, create and revoke keys of users."),
    "webhooks": (_SETUP, "List, add and remove webhooks for events."),
    "grant": (_SETUP, "Grant the SQL jobs of an org access to a table."),
    "revoke": (_SETUP, "Revoke access to a table from the SQL jobs of an org."),
    "attach": (_SETUP, "Capture changes of a PostgreSQL table."),
    "detach": (_SETUP, "Stop capturing changes of a table."),
    "forget": (_SETUP, "Drop a retired consumer's claim on a change log."),
    "sweep": (_SETUP, "Remove old versions of DAGs."),
    "psql": (_SETUP, "Open psql on the database."),
    "login": (_SETUP, "Store the key for a server."),
    "logout": (_SETUP, "Remove the stored key for a server."),
    "doctor": (_SETUP, "Check the installation, and print remedies."),
    "impact": (_CHANGE, "Preview a change, as a plan to apply."),
    "apply": (_CHANGE, "Run a previewed plan exactly as shown."),
    "approve": (_CHANGE, "Approve plans pending approval."),
    "reject": (_CHANGE, "Reject plans pending approval."),
    "invalidate": (_CHANGE, "Mark part of a dataset as changed."),
    "run": (_CHANGE, "Recompute a job's outputs."),
    "undeploy": (_CHANGE, "Remove a DAG; its tables stay."),
    "backfill": (_CHANGE, "Build partitions, whether they exist or not."),
    "pause": (_CHANGE, "Pause a job, a dataset, or the org."),
    "resume": (_CHANGE, "Resume a job, a dataset, or the org."),
    "status": (_INSPECT, "Show the state of the org."),
    "jobs": (_INSPECT, "List jobs, with their unfinished tasks."),
    "datasets": (_INSPECT, "List datasets, with producers and readers."),
    "schedules": (_INSPECT, "List the schedules of sources, with their next times."),
    "partitions": (_INSPECT, "Show the states of a dataset's partitions."),
    "stale": (_INSPECT, "List stale partitions, root causes first."),
    "audit": (_INSPECT, "Check every partition for lost work."),
    "verify": (_INSPECT, "Recompute a sample of partitions, and compare it with the stored data."),
    "explain": (_INSPECT, "Explain a task, or the state of a partition."),
    "plans": (_INSPECT, "List plans, or show a plan."),
    "tasks": (_INSPECT, "List, retry or cancel tasks."),
    "logs": (_INSPECT, "Show the attempts at a task, with their output."),
    "events": (_INSPECT, "List or follow events."),
    "invalidations": (_INSPECT, "List or replay invalidations."),
    "history": (_INSPECT, "List deploys, or print the file of a DAG version."),
    "lineage": (_INSPECT, "Show the lineage of datasets."),
    "dead-letters": (_INSPECT, "List, show, replay or discard dead letters."),
}
"""Panel and help by command; the code is in the module of the same name."""


@contextmanager
def _printable_usage_errors() -> Iterator[None]:
    """Escape usage errors, which repeat arguments that may contain control characters."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message"):
            text = printable(error.format_message())
            error.format_message = lambda: text
        raise


class LazyGroup(TyperGroup):
    """A group with help from the table of commands, and imports on use."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Parse the options before the command."""
        with _printable_usage_errors():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        """Parse and run the command."""
        with _printable_usage_errors():
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command and load it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and load_command(str(name)), rest


def load_command(name: str) -> Any:
    """Import a command."""
    module = import_module(f"engine.cli.commands.{name.replace('-', '_')}")
    return typer.main.get_command(module.app)


def _stub() -> NoReturn:
    raise AssertionError("a command is loaded before it is run")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"knockon {version('knockon')}")
        raise typer.Exit


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Recompute exactly the partitions affected by a change, each once.",
)


@app.callback()
@command
def _root(
    options: GlobalOptions,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


for _name, (_panel, _help) in COMMANDS.items():
    app.command(_name, help=_help, rich_help_panel=_panel)(_stub)
