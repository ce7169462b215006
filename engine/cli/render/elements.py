"""Tables and texts shared by the output of several commands."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from rich import box
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from engine.model.states import TaskStatus
from engine.service.queries.pruning import PrunedEdge
from engine.wording import span

_STYLES = {
    TaskStatus.BLOCKED: "yellow",
    "pending_approval": "yellow",
    TaskStatus.QUEUED: "cyan",
    TaskStatus.RUNNING: "bold blue",
    TaskStatus.SUCCEEDED: "green",
    TaskStatus.FAILED: "bold red",
    TaskStatus.SKIPPED: "dim",
    TaskStatus.CANCELED: "dim strike",
}


def empty_table(*columns: str, title: str | None = None) -> Table:
    """A plain table without rows, as wide as a terminal permits.

    Columns with names ending in ``|`` are not wrapped; those in ``>`` are flush right as well.
    Others are wrapped, but to no less than the words of the name.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        title=title,
        title_justify="left",
    )
    for column in columns:
        name = column.rstrip(">|")
        side: JustifyMethod = "right" if column.endswith(">") else "left"
        words = max(map(len, name.split()), default=0)
        table.add_column(
            name, justify=side, overflow="fold", no_wrap=column != name, min_width=words
        )
    return table


def status_text(status: str) -> Text:
    """The status of a task or plan in the color of the status."""
    return Text(status, style=_STYLES.get(status, ""))


def counts_text(tasks: Mapping[str, int], order: Iterable[TaskStatus]) -> Text:
    """The numbers of tasks by status, of those statuses that occur."""
    counts = [(status, tasks[status]) for status in order if status in tasks]
    return Text("  ").join(Text.assemble(status_text(name), f" {n:,}") for name, n in counts)


def short(id_: UUID | str) -> str:
    """The last characters of an id, accepted by commands in place of the whole id."""
    return str(id_)[-8:]


def ago(moment: datetime | None) -> str:
    """The time since a moment, in one unit: `3m ago`."""
    return "" if moment is None else f"{span((datetime.now(UTC) - moment).total_seconds())} ago"


def compact(value: Any) -> str:
    """A value as JSON on one line."""
    return msgspec.json.encode(value).decode()


def pruned_text(edge: PrunedEdge) -> Text:
    """An edge where a change stopped, with the rule."""
    text = Text.assemble(("✂ ", "yellow"), (edge.job or edge.dataset, "dim"))
    return text.append(f"  {edge.rule}: ", "yellow").append(edge.detail)


def mapping_text(spec: Any) -> str:
    """A partition mapping in few words, without dimensions mapped to themselves."""
    if not isinstance(spec, dict):
        return "" if spec in (None, "identity") else str(spec)
    return ", ".join(filter(None, (_dimension_text(name, spec[name]) for name in spec)))


def _dimension_text(name: str, spec: Any) -> str:
    if isinstance(spec, str):
        return "" if spec == name else f"{name} from {spec}"
    source = "" if spec.get("from") == name else f" from {spec.get('from')}"
    window = f" {spec['window']}" if "window" in spec else ""
    return f"{name}{source}{window}{' by a map' if 'map' in spec else ''}"
