"""The tree of commands. Each one's code is imported only when it is called, so help is quick."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from engine.cli.call import Call, command
from engine.printable import printable

_SETUP = "Set up"
_CHANGE = "Change"
_LOOK = "Look"
_SERVE = "Run"

COMMANDS = {
    "up": (_SERVE, "Run everything in this process: database, broker, engine, workers."),
    "engine": (_SERVE, "Plan what was invalidated; run as many as you like."),
    "worker": (_SERVE, "Run tasks; run as many as you like."),
    "consume": (_SERVE, "Take in changes from Kafka topics and PostgreSQL tables."),
    "demo": (_SERVE, "See a year of flights recomputed, change by change."),
    "migrate": (_SETUP, "Bring the database's schema up to date."),
    "schema": (_SETUP, "Print the JSON Schema of a DAG file, for your editor."),
    "validate": (_SETUP, "Check DAG files without a database."),
    "deploy": (_SETUP, "Serve DAG files from now on."),
    "org": (_SETUP, "Show what the org has set, and set it."),
    "grant": (_SETUP, "Let the SQL jobs of an org use a table."),
    "revoke": (_SETUP, "Take a right to a table back from the SQL jobs of an org."),
    "attach": (_SETUP, "Capture the changes of a PostgreSQL table."),
    "detach": (_SETUP, "Capture the changes of a PostgreSQL table no more."),
    "forget": (_SETUP, "Keep a change log no longer for a consumer that is gone for good."),
    "psql": (_SETUP, "Open psql on the database."),
    "doctor": (_SETUP, "Check that all is well, and say what to do where it is not."),
    "impact": (_CHANGE, "Show what a change would hit, as a plan that can be applied."),
    "apply": (_CHANGE, "Run a plan that was shown, as it was shown."),
    "approve": (_CHANGE, "Let plans run that are held for approval."),
    "reject": (_CHANGE, "Have nothing run for plans that are held."),
    "invalidate": (_CHANGE, "Say that a part of a dataset is stale."),
    "run": (_CHANGE, "Have a job's outputs recomputed."),
    "status": (_LOOK, "Show how things stand."),
    "audit": (_LOOK, "Check every partition for staleness that nothing leads to."),
    "explain": (_LOOK, "Tell why a task ran, or whether a partition is fresh."),
    "plans": (_LOOK, "List plans: proposed, held, applied, rejected; show one."),
    "tasks": (_LOOK, "List tasks; retry or cancel one."),
    "invalidations": (_LOOK, "List what was found stale, and what became of it; replay."),
    "lineage": (_LOOK, "Show what is made from what."),
    "dead-letters": (_LOOK, "List, show and replay what could not be read."),
}
"""Each command's panel and what it does; its code is the module of its name."""


@contextmanager
def _printable_complaints() -> Iterator[None]:
    """Complaints about a call repeat its arguments, which may come from outside like all else."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message"):
            text = printable(error.format_message())
            error.format_message = lambda: text
        raise


class LazyGroup(TyperGroup):
    """Shows all commands by what the table says, and imports the one that is called."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Parse the options in front of the command."""
        with _printable_complaints():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        """Parse and run the command."""
        with _printable_complaints():
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command and load it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and _load(str(name)), rest


def _load(name: str) -> Any:
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
    help="Knockon: a source changes, and exactly what it knocks on is recomputed, each part once.",
)


@app.callback()
@command
def _root(
    call: Call,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


for _name, (_panel, _help) in COMMANDS.items():
    app.command(_name, help=_help, rich_help_panel=_panel)(_stub)
