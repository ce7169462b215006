"""`knockon dead-letters`: list, show, replay and discard."""

from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from engine.cli.commands._decisions import By
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show as print_view
from engine.cli.render.elements import ago, empty_table, short
from engine.cli.runtime.session import Session, run
from engine.errors import InvalidInput
from engine.service.commands.dead_letters import Replayed, discard_all, replay_all
from engine.service.commands.dead_letters import discard as discard_letters
from engine.service.commands.dead_letters import replay as replay_letters
from engine.service.queries.dead_letters import DeadLetter, dead_letter, dead_letters
from engine.wording import counted

app = typer.Typer(add_completion=False, invoke_without_command=True)
_WithDone = Annotated[
    bool,
    typer.Option(
        "--with-done", "--with-replayed", help="Include dead letters already replayed or discarded."
    ),
]
_Limit = Annotated[
    int, typer.Option("--limit", "-n", min=1, help="Maximum number of dead letters to list.")
]


@app.callback()
@command
def letters(options: GlobalOptions, with_done: _WithDone = False, limit: _Limit = 50) -> None:
    """List dead letters, newest first; subcommands show, replay or discard them."""
    _list(options, with_done, limit)


@app.command("list")
@command
def list_(options: GlobalOptions, with_done: _WithDone = False, limit: _Limit = 50) -> None:
    """List dead letters, newest first."""
    _list(options, with_done, limit)


@app.command()
@command
def show(
    options: GlobalOptions,
    letter: Annotated[
        str, typer.Argument(help="Id of the dead letter, or the last characters.", metavar="ID")
    ],
) -> None:
    """Show a dead letter with its payload, headers and error."""
    view = run(options, lambda session: dead_letter(session.caller(), session.service, letter))
    print_view(options, view, _details)


@app.command()
@command
def replay(
    options: GlobalOptions,
    ids: Annotated[
        list[str] | None,
        typer.Argument(help="Ids of dead letters, or the last characters.", metavar="ID"),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Replay all open dead letters.")] = False,
) -> None:
    """Ingest dead letters again with the current format; failures stay open."""
    if bool(ids) == all_:
        raise InvalidInput("name the dead letters to replay, or pass --all")

    async def work(session: Session) -> list[Replayed]:
        if ids:
            return await replay_letters(session.caller(), session.service, ids)
        return await replay_all(session.caller(), session.service)

    results = run(options, work)
    print_view(options, results, _outcome)
    if any(result.error for result in results):
        raise typer.Exit(1)


@app.command()
@command
def discard(
    options: GlobalOptions,
    reason: Annotated[str, typer.Option("--reason", help="Reason for a discard without a replay.")],
    ids: Annotated[
        list[str] | None,
        typer.Argument(help="Ids of dead letters, or the last characters.", metavar="ID"),
    ] = None,
    stream: Annotated[
        str | None, typer.Option("--stream", help="Stream of the dead letters, like kafka/orders.")
    ] = None,
    error: Annotated[
        str | None, typer.Option("--error", help="Text in the error of the dead letters.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Discard all open dead letters.")] = False,
    by: By = None,
) -> None:
    """Discard dead letters without a replay, by id or all of a stream or error."""
    if bool(ids) == bool(stream or error or all_):
        raise InvalidInput("name the dead letters to discard, or pass --stream, --error or --all")

    async def work(session: Session) -> int:
        caller, service = session.caller(by), session.service
        if ids:
            return len(await discard_letters(caller, service, ids, reason=reason))
        return await discard_all(caller, service, stream=stream, error=error, reason=reason)

    print_view(
        options,
        {"discarded": run(options, work)},
        lambda view: Text(f"{counted(view['discarded'], 'dead letter')} discarded"),
    )


def _list(options: GlobalOptions, with_done: bool, limit: int) -> None:
    rows = run(
        options,
        lambda session: dead_letters(
            session.caller(), session.service, with_done=with_done, limit=limit
        ),
    )
    print_view(options, rows, _table)


def _table(rows: list[DeadLetter]) -> RenderableType:
    if not rows:
        return Text("no dead letters", "green")
    table = empty_table("letter|", "stream", "position", "age|", "done", "error")
    for row in rows:
        done, error = _done(row), Text(row.error, "red")
        table.add_row(short(row.id), row.stream, row.position, ago(row.created_at), done, error)
    return table


def _details(letter: DeadLetter) -> RenderableType:
    rows = {
        "letter": str(letter.id),
        "consumer": letter.consumer,
        "stream": f"{letter.stream} at {letter.position}",
        "received": ago(letter.created_at),
        "replayed": ago(letter.replayed_at) or "no",
        **({"discarded": _discard(letter)} if letter.closed_at else {}),
        **{f"header {name}": value for name, value in letter.headers.items()},
    }
    lines = [Text.assemble((f"{name:<10} ", "bold"), value) for name, value in rows.items()]
    error = Text(letter.error, "red")
    return Group(
        *lines, error, Text(), Text("(null)" if letter.payload is None else letter.payload)
    )


def _done(letter: DeadLetter) -> str:
    if letter.replayed_at is not None:
        return f"replayed {ago(letter.replayed_at)}"
    return f"discarded {_discard(letter)}" if letter.closed_at else ""


def _discard(letter: DeadLetter) -> str:
    by = f" by {letter.closed_by}" if letter.closed_by else ""
    return f"{ago(letter.closed_at)}{by}: {letter.close_reason}"


def _outcome(results: list[Replayed]) -> RenderableType:
    replayed = [result for result in results if result.error is None]
    invalidations = counted(sum(len(result.invalidations) for result in replayed), "invalidation")
    head = Text(f"{counted(len(replayed), 'dead letter')} replayed: {invalidations}")
    failures = (
        Text.assemble(short(result.id), ("  failed again: ", "yellow"), result.error)
        for result in results
        if result.error
    )
    return Group(head, *failures)
