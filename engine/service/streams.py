"""Streams of messages that a caller sees."""

from collections import defaultdict
from collections.abc import Iterable

from consumers.http.message import HTTP
from engine.flow.shared.org_context import OrgContext
from engine.service.visibility import Visibility
from engine.store.database import Connection
from engine.store.rows.sources import SourceFeed
from engine.store.run import fetch

_LOCATIONS = (("kafka", "topic"), (HTTP, "endpoint"))


async def visible_streams(
    conn: Connection, org: OrgContext, visible: Visibility
) -> list[str] | None:
    """Return the streams of topics and endpoints whose datasets are all visible; None: all streams.

    A message may name anything, so that other streams are hidden as soon as any dataset is.
    """
    if visible.is_full:
        return None
    feeds: defaultdict[str, set[str]] = defaultdict(set)
    for row in await fetch(conn, "sources.feeds", SourceFeed, org_id=org.id):
        for transport, key in _LOCATIONS:
            if row.source["kind"] == transport:
                feeds[f"{transport}/{row.source[key]}"] |= set(row.datasets)
    return [name for name, names in feeds.items() if names.isdisjoint(visible.dataset_names)]


def is_among(stream: str, streams: Iterable[str] | None) -> bool:
    """Return True if a stream is one of some streams, or a part of one; None stands for all."""
    return streams is None or any(f"{stream}/".startswith(f"{each}/") for each in streams)
