"""Formats bound to a dataset as in a DAG file."""

from typing import Any

import msgspec

from consumers.formats.confluent import Schemas
from consumers.formats.format import BOUND_FORMATS, Format
from consumers.sources import Feed
from engine.model.dag_sources import KafkaSource

DAILY = {"dt": {"time": "day", "column": "ordered_at"}}
ORDERS = ("id", "ordered_at", "status", "amount", "notes")


def bound(
    name: str,
    /,
    partitioning: dict[str, Any] = DAILY,
    known: tuple[str, ...] | None = ORDERS,
    schemas: Schemas | None = None,
    **source: Any,
) -> Format:
    """The format of a topic bound to the dataset `orders` with the columns `known`."""
    spec = {"kind": "kafka", "topic": "t", "format": name, "dataset": "orders", **source}
    feed = Feed(
        KafkaSource.model_validate(spec),
        msgspec.json.encode(partitioning).decode(),
        None if known is None else frozenset(known),
    )
    return BOUND_FORMATS[name]([feed.binding], schemas)
