"""Results on stdout and errors on stderr.

All output passes through `console`, `errors` or `to_json`, which strip control characters: no text
from a database or a message can act on a terminal.
"""

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from engine.cli.global_options import GlobalOptions
from engine.printable import printable, printable_json
from engine.secrets import redacted

V = TypeVar("V")

_PIPE_WIDTH = 160


class _SafeConsole(Console):
    """A console without markup, emoji codes and control characters in text."""

    def __init__(self, **more: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **more)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render with all control characters but the console's own escaped."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else printable(segment.text)
            yield Segment(text, segment.style, segment.control)


def console() -> Console:
    """Stdout; wide unless a terminal, so that nothing is cut off in a file."""
    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return _SafeConsole(width=_PIPE_WIDTH if wide else None)


def errors() -> Console:
    """Stderr."""
    return _SafeConsole(stderr=True, soft_wrap=True)


def show(
    options: GlobalOptions,
    view: V,
    render: Callable[[V], RenderableType],
    *,
    soft_wrap: bool = False,
) -> None:
    """Print a view, with --json as one JSON document, else rendered.

    ``soft_wrap`` leaves it to the terminal to wrap long lines, so that they can be copied.
    """
    if options.as_json:
        sys.stdout.write(to_json(view))
    else:
        console().print(render(view), soft_wrap=soft_wrap)
    sys.stdout.flush()


def to_json(view: Any) -> str:
    """A view as indented JSON, with dataclasses as objects."""
    return printable_json(msgspec.json.format(msgspec.json.encode(view)).decode()) + "\n"


def print_error(message: str) -> None:
    """Print an error on stderr, unwrapped so that file names stay clickable in editors."""
    console = errors()
    console.print(Text.assemble(("error: ", "bold red"), redacted(message)))
