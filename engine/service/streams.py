"""Streams of messages: those that a caller sees, and those that are read."""

from collections import defaultdict
from collections.abc import Iterable

from consumers.http.message import HTTP
from engine.flow.shared.org_context import OrgContext
from engine.service.visibility import Visibility
from engine.store.database import Connection
from engine.store.rows.sources import SourceFeed
from engine.store.run import fetch

CHANGE_LOG = "postgres"
_LOCATIONS = {"kafka": "topic", HTTP: "endpoint"}


async def visible_streams(
    conn: Connection, org: OrgContext, visible: Visibility
) -> list[str] | None:
    """Return the streams of topics and endpoints whose datasets are all visible; None: all streams.

    A message may name anything, so that other streams are hidden as soon as any dataset is.
    """
    if visible.is_full:
        return None
    feeds = await _feeds(conn, org)
    return [
        name
        for name, names in feeds.items()
        if name != CHANGE_LOG and names.isdisjoint(visible.dataset_names)
    ]


async def read_streams(conn: Connection, org: OrgContext) -> list[str]:
    """Return the streams that deployed sources read; ``postgres`` stands for any change log."""
    return list(await _feeds(conn, org))


async def _feeds(conn: Connection, org: OrgContext) -> dict[str, set[str]]:
    """Return the datasets of each stream."""
    feeds: defaultdict[str, set[str]] = defaultdict(set)
    for row in await fetch(conn, "sources.feeds", SourceFeed, org_id=org.id):
        kind = row.source["kind"]
        if kind == CHANGE_LOG:
            feeds[kind] |= set(row.datasets)
        elif kind in _LOCATIONS:
            feeds[f"{kind}/{row.source[_LOCATIONS[kind]]}"] |= set(row.datasets)
    return feeds


def is_among(stream: str, streams: Iterable[str] | None) -> bool:
    """Return True if a stream is one of some streams, or a part of one; None stands for all."""
    return streams is None or any(f"{stream}/".startswith(f"{each}/") for each in streams)
