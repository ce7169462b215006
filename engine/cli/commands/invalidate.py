"""`knockon invalidate`."""

from typing import Annotated

import typer
from rich.text import Text

from engine.cli.commands._scope_options import (
    Columns,
    Dataset,
    Partitions,
    ReasonOption,
    Rows,
    event_from,
)
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import short
from engine.cli.runtime.session import Session, run
from engine.cli.runtime.wait import Timeout, Wait, wait_for
from engine.model.states import Reason
from engine.service.commands.invalidations import Requested
from engine.service.commands.invalidations import invalidate as invalidate_dataset
from engine.wording import counted, some

app = typer.Typer(add_completion=False)


@app.command()
@command
def invalidate(
    options: GlobalOptions,
    dataset: Dataset,
    partitions: Partitions = None,
    columns: Columns = None,
    rows: Rows = None,
    reason: ReasonOption = Reason.MANUAL,
    key: Annotated[
        str | None,
        typer.Option("--key", help="Idempotency key: a repeated key is the same request."),
    ] = None,
    fingerprint: Annotated[
        str | None,
        typer.Option(
            "--fingerprint",
            help="Hash or version of the data; the same one again changes nothing.",
        ),
    ] = None,
    note: Annotated[str | None, typer.Option("--note", help="Note, shown by explain.")] = None,
    wait: Wait = False,
    timeout: Timeout = None,
) -> None:
    """Mark part of a dataset as changed, and recompute its dependents.

    For a dataset produced by a job, the part itself is recomputed first. With --reason rewritten, a
    part repaired by hand, only the dependents are recomputed.
    """
    event = event_from(
        dataset,
        partitions,
        columns,
        rows,
        reason,
        id=key,
        note=note,
        fingerprint=fingerprint,
        source="knockon invalidate",
    )

    async def work(session: Session) -> None:
        requested = await invalidate_dataset(session.caller(), session.service, event)
        show(options, requested, _text)
        if wait:
            await wait_for(session, requested.invalidations, timeout)

    run(options, work)


def _text(requested: Requested) -> Text:
    count = counted(len(requested.invalidations), "invalidation")
    ids = some(short(id_) for id_ in requested.invalidations)
    repeated = "" if requested.is_new else "  recorded earlier with the same key"
    return Text.assemble((count, "bold"), f"  {ids}", (repeated, "yellow"))
