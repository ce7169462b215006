"""`knockon dead-letters`, and what an operator does with them."""

from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from consumers.replay import Replayed
from consumers.replay import replay as read_again
from engine.api.dead_letters import (
    DeadLetter,
    dead_letter,
    dead_letter_id,
    dead_letters,
    open_dead_letters,
)
from engine.cli.call import Call, command
from engine.cli.output import ago, counted, short, table
from engine.cli.output import show as print_view
from engine.cli.session import Session, run
from engine.errors import InvalidInput

app = typer.Typer(add_completion=False, invoke_without_command=True)
_Replayed = Annotated[bool, typer.Option("--with-replayed", help="Also those replayed already.")]
_Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")]


@app.callback()
@command
def letters(call: Call, with_replayed: _Replayed = False, limit: _Limit = 50) -> None:
    """List deliveries that could not be used, the newest first; or show or replay some."""
    _list(call, with_replayed, limit)


@app.command("list")
@command
def list_(call: Call, with_replayed: _Replayed = False, limit: _Limit = 50) -> None:
    """List them, the newest first."""
    _list(call, with_replayed, limit)


@app.command()
@command
def show(
    call: Call,
    letter: Annotated[str, typer.Argument(help="Its id, or the end of it.", metavar="ID")],
) -> None:
    """Show one with all that it held."""

    async def work(session: Session) -> DeadLetter:
        async with session.connection() as conn:
            found = await dead_letter_id(conn, session.scene, letter)
            return await dead_letter(conn, session.scene, found)

    print_view(call, run(call, work), _whole)


@app.command()
@command
def replay(
    call: Call,
    ids: Annotated[
        list[str] | None, typer.Argument(help="Ids, or their ends.", metavar="ID")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every one that is open.")] = False,
) -> None:
    """Read them again as their topics are read now; what is still unreadable stays."""
    if bool(ids) == all_:
        raise InvalidInput("name the letters to replay, or say --all")

    async def work(session: Session) -> list[Replayed]:
        async with session.connection() as conn:
            named = [await dead_letter_id(conn, session.scene, each) for each in ids or ()]
            wanted = named or await open_dead_letters(conn, session.scene)
            return await read_again(conn, session.scene, wanted)

    done = run(call, work)
    print_view(call, done, _outcome)
    if any(each.error for each in done):
        raise typer.Exit(1)


def _list(call: Call, with_replayed: bool, limit: int) -> None:
    async def work(session: Session) -> list[DeadLetter]:
        async with session.connection() as conn:
            return await dead_letters(conn, session.scene, with_replayed=with_replayed, limit=limit)

    print_view(call, run(call, work), _listed)


def _listed(rows: list[DeadLetter]) -> RenderableType:
    if not rows:
        return Text("no dead letters", "green")
    made = table("letter", "stream", "position", "age", "replayed", "error")
    for each in rows:
        replayed, error = ago(each.replayed_at), Text(each.error, "red")
        made.add_row(
            short(each.id), each.stream, each.position, ago(each.created_at), replayed, error
        )
    return made


def _whole(letter: DeadLetter) -> RenderableType:
    rows = {
        "letter": str(letter.id),
        "consumer": letter.consumer,
        "stream": f"{letter.stream} at {letter.position}",
        "came": ago(letter.created_at),
        "replayed": ago(letter.replayed_at) or "no",
        **{f"header {name}": value for name, value in letter.headers.items()},
    }
    lines = [Text.assemble((f"{name:<10} ", "bold"), value) for name, value in rows.items()]
    error = Text(letter.error, "red")
    return Group(
        *lines, error, Text(), Text("(null)" if letter.payload is None else letter.payload)
    )


def _outcome(done: list[Replayed]) -> RenderableType:
    good = [each for each in done if each.error is None]
    facts = sum(len(each.invalidations) for each in good)
    head = Text(f"{counted(len(good), 'letter')} replayed: {counted(facts, 'invalidation')}")
    stay = (
        Text.assemble(short(each.id), ("  stays: ", "yellow"), each.error)
        for each in done
        if each.error
    )
    return Group(head, *stay)
