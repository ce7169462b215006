"""Output of commands: results on stdout, complaints on stderr.

Everything passes through `console`, `errors` or `to_json`, so that no text acts on a terminal.
"""

import os
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from rich import box
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from engine.cli.call import Call
from engine.printable import printable, printable_json
from engine.secrets import redacted
from engine.service.queries.pruning import PrunedEdge
from engine.wording import span

V = TypeVar("V")

_PIPE_WIDTH = 160
_STYLES = {
    "blocked": "yellow",
    "held": "yellow",
    "queued": "cyan",
    "running": "bold blue",
    "succeeded": "green",
    "failed": "bold red",
    "skipped": "dim",
    "canceled": "dim strike",
}


class _SafeConsole(Console):
    """A console on which text is text: neither markup, nor emoji codes, nor control characters."""

    def __init__(self, **more: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **more)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render it; the console's own control codes are segments of their own kind."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else printable(segment.text)
            yield Segment(text, segment.style, segment.control)


def console() -> Console:
    """Stdout; wide where it is not a terminal, so that nothing is cut off on its way to a file."""
    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return _SafeConsole(width=_PIPE_WIDTH if wide else None)


def errors() -> Console:
    """Stderr."""
    return _SafeConsole(stderr=True, soft_wrap=True)


def show(call: Call, view: V, render: Callable[[V], RenderableType]) -> None:
    """Print a view: one JSON document for programs, else as ``render`` draws it."""
    if call.as_json:
        sys.stdout.write(to_json(view))
    else:
        console().print(render(view))
    sys.stdout.flush()


def to_json(view: Any) -> str:
    """A view as indented JSON; its dataclasses are objects."""
    return printable_json(msgspec.json.format(msgspec.json.encode(view)).decode()) + "\n"


def complain(message: str) -> None:
    """Say on stderr what went wrong, each line whole, since editors and people click on them."""
    console = errors()
    console.print(Text.assemble(("error: ", "bold red"), redacted(message)))


def table(*columns: str, title: str | None = None) -> Table:
    """A plain table; a column whose name ends in `>` is flush right."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for name in columns:
        side: JustifyMethod = "right" if name.endswith(">") else "left"
        made.add_column(name.removesuffix(">"), justify=side, overflow="fold")
    return made


def status_text(status: str) -> Text:
    """A task's status in its colour."""
    return Text(status, style=_STYLES.get(status, ""))


def short(id_: UUID | str) -> str:
    """The end of an id, which tells it from others; commands take it in place of the whole."""
    return str(id_)[-8:]


def ago(moment: datetime | None) -> str:
    """How long ago it was, in one unit: `3m ago`."""
    return "" if moment is None else f"{span((datetime.now(UTC) - moment).total_seconds())} ago"


def compact(value: Any) -> str:
    """A value as JSON on one line."""
    return msgspec.json.encode(value).decode()


def pruned_text(edge: PrunedEdge) -> Text:
    """An edge at which a change stopped, and by which rule."""
    text = Text.assemble(("✂ ", "yellow"), (edge.job or edge.dataset, "dim"))
    return text.append(f"  {edge.rule}: ", "yellow").append(edge.detail)


def mapping_text(spec: Any) -> str:
    """A partition mapping in few words; what goes straight from one name to itself is left out."""
    if not isinstance(spec, dict):
        return "" if spec in (None, "identity") else str(spec)
    return ", ".join(filter(None, (_dimension_text(name, spec[name]) for name in spec)))


def _dimension_text(name: str, spec: Any) -> str:
    if isinstance(spec, str):
        return "" if spec == name else f"{name} from {spec}"
    source = "" if spec.get("from") == name else f" from {spec.get('from')}"
    window = f" {spec['window']}" if "window" in spec else ""
    return f"{name}{source}{window}{' by a map' if 'map' in spec else ''}"
