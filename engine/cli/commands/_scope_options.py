"""Arguments of `invalidate`, `impact` and `run` for a part of a dataset."""

from typing import Annotated, Any

import msgspec
import typer

from engine.errors import InvalidFilter
from engine.model.event import SourceEvent
from engine.model.states import Reason

Dataset = Annotated[str, typer.Argument(help="Name of the dataset.", metavar="DATASET")]
Partitions = Annotated[
    list[str] | None,
    typer.Option(
        "--partitions",
        "-p",
        help="Key or range, like 2013-02-01..2013-02-07; repeatable; default: all.",
        metavar="KEYS",
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns", "-c", help="Changed columns: a,b; default: unknown.", metavar="NAMES"
    ),
]
Rows = Annotated[
    str | None,
    typer.Option(
        "--rows", help='Row filter: {"origin": {"in": ["JFK"]}}; default: any row.', metavar="JSON"
    ),
]
ReasonOption = Annotated[Reason, typer.Option("--reason", help="Reason of the change.")]


def event_from(
    dataset: str,
    partitions: list[str] | None,
    columns: list[str] | None,
    rows: str | None,
    reason: Reason,
    **fields: Any,
) -> SourceEvent:
    """The event for the arguments. Raises InvalidFilter if ``rows`` is not a JSON object."""
    return SourceEvent(
        dataset=dataset,
        partitions=split_values(partitions),
        columns=split_values(columns),
        rows=None if rows is None else _filter(rows),
        reason=reason,
        **fields,
    )


def split_values(texts: list[str] | None) -> tuple[str, ...] | None:
    """The values of a repeatable option with comma-separated values."""
    if not texts:
        return None
    return tuple(value.strip() for text in texts for value in text.split(",") if value.strip())


def _filter(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise InvalidFilter(
            f'--rows is not a JSON object: {error}: write {{"origin": "JFK"}}'
        ) from None
