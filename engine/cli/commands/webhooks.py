"""`knockon webhooks`: list, add and remove webhooks."""

from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from engine.cli.commands._decisions import By
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import ago, empty_table
from engine.cli.runtime.session import run
from engine.model.states import AWAITED_KINDS, EventKind, Receiver
from engine.service.commands.webhooks import AddedWebhook, add_webhook, remove_webhook
from engine.service.queries.webhooks import WebhookRow
from engine.service.queries.webhooks import webhooks as all_webhooks

app = typer.Typer(add_completion=False, invoke_without_command=True)
_Name = Annotated[str, typer.Argument(help="Name of the webhook.")]


@app.callback()
@command
def webhooks(options: GlobalOptions) -> None:
    """List the webhooks of the org; subcommands add and remove webhooks."""
    view = run(options, lambda session: all_webhooks(session.caller(), session.service))
    show(options, view, _table)


@app.command()
@command
def add(
    options: GlobalOptions,
    name: _Name,
    url: Annotated[
        str,
        typer.Argument(
            help="URL that accepts signed POST requests, of an Alertmanager, or of Apprise."
        ),
    ],
    kind: Annotated[
        list[EventKind] | None,
        typer.Option(
            "--kind",
            "-k",
            help="Kind of events to send; repeatable; default: those that wait for a person.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[Receiver, typer.Option("--to", help="Receiver at the URL.")] = Receiver.WEBHOOK,
    by: By = None,
) -> None:
    """Have the org's events sent to a URL from now on, and print the signing secret once.

    Engines send the events, at least once and in order: as Standard Webhooks, as alerts that the
    end of the cause resolves, or as texts to chat, mail and paging services.
    """
    kinds = kind or AWAITED_KINDS
    added = run(
        options,
        lambda session: add_webhook(session.caller(by), session.service, name, url, kinds, to),
    )
    show(options, added, _added, soft_wrap=True)


@app.command()
@command
def remove(options: GlobalOptions, name: _Name, by: By = None) -> None:
    """Remove a webhook; events not delivered yet are not sent."""
    run(options, lambda session: remove_webhook(session.caller(by), session.service, name))
    show(options, {"removed": name}, lambda _: Text(f"webhook {name} is removed"))


def _added(added: AddedWebhook) -> RenderableType:
    if added.secret is None:
        return Text(f"{added.name} is sent the events from now on")
    note = Text(
        "the secret is shown only now: the receiver needs it to verify deliveries", "yellow"
    )
    return Group(Text(added.secret, "bold"), note)


def _table(rows: list[WebhookRow]) -> RenderableType:
    if not rows:
        return Text("no webhooks: knockon webhooks add NAME URL", "dim")
    table = empty_table(
        "webhook", "receiver|", "url", "kinds", "delivered|", "failures>", "last error"
    )
    for row in rows:
        table.add_row(
            row.name,
            row.receiver,
            row.url,
            ", ".join(row.kinds),
            ago(row.delivered_at) or "never",
            str(row.failures),
            row.last_error or "",
        )
    return table
