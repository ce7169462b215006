"""The arguments by which `invalidate` and `impact` name a part of a dataset."""

from typing import Annotated, Any

import msgspec
import typer

from engine.errors import InvalidFilter
from engine.model.event import Reason, SourceEvent

Dataset = Annotated[str, typer.Argument(help="The dataset's name.", metavar="DATASET")]
Partitions = Annotated[
    list[str] | None,
    typer.Option(
        "--partitions",
        "-p",
        help="A key or range, like 2013-02-01..2013-02-07; may be repeated. Without: all.",
        metavar="KEYS",
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns", "-c", help="The columns that changed: a,b. Without: unknown.", metavar="NAMES"
    ),
]
Rows = Annotated[
    str | None,
    typer.Option(
        "--rows", help='The rows that changed: {"origin": {"in": ["JFK"]}}.', metavar="JSON"
    ),
]
Why = Annotated[Reason, typer.Option("--reason", help="Why it is stale.")]


def event_of(
    dataset: str,
    partitions: list[str] | None,
    columns: list[str] | None,
    rows: str | None,
    reason: Reason,
    **more: Any,
) -> SourceEvent:
    """The event that the arguments describe. Raises InvalidFilter where rows are not JSON."""
    return SourceEvent(
        dataset=dataset,
        partitions=_words(partitions),
        columns=_words(columns),
        rows=None if rows is None else _filter(rows),
        reason=reason,
        **more,
    )


def _words(texts: list[str] | None) -> tuple[str, ...] | None:
    """Options that may be repeated, and may hold several with commas between them."""
    if not texts:
        return None
    return tuple(word.strip() for text in texts for word in text.split(",") if word.strip())


def _filter(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise InvalidFilter(
            f'--rows is not a JSON object: {error}: write {{"origin": "JFK"}}'
        ) from None
