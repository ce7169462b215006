"""How the changes of an org's source datasets come, as its deployed DAGs say."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from consumers.formats.format import format_named
from consumers.formats.reading import Reader
from engine.flow.scene import Scene
from engine.store.database import Connection
from engine.store.run import fetch

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, order=True)
class Feed:
    """What a source job says of its topic; without a ``dataset`` each message names its own."""

    format: str
    dataset: str


@dataclass(frozen=True, slots=True)
class Sources:
    """``topics`` with what comes by each; ``tables`` with the dataset that each one is."""

    topics: Mapping[str, frozenset[Feed]]
    tables: Mapping[str, str]

    def readers(self) -> dict[str, Reader]:
        """A reader for each topic; one that cannot be had is logged, and its topic left alone."""
        found = {topic: _reader(topic, feeds) for topic, feeds in self.topics.items()}
        return {topic: reader for topic, reader in found.items() if reader is not None}


async def load_sources(conn: Connection, scene: Scene) -> Sources:
    """Read what the current DAG versions say of their sources."""
    topics: dict[str, set[Feed]] = defaultdict(set)
    tables: dict[str, str] = {}
    for row in await fetch(conn, "views.sources", org_id=scene.org_id):
        source = row["source"]
        if source["kind"] == "kafka":
            feed = Feed(source.get("format", "knockon"), source.get("dataset", ""))
            topics[source["topic"]].add(feed)
        elif source["kind"] == "postgres":
            tables[source["table"]] = row["datasets"][0]
    return Sources({topic: frozenset(feeds) for topic, feeds in topics.items()}, tables)


def _reader(topic: str, feeds: frozenset[Feed]) -> Reader | None:
    """Where jobs share a topic and do not agree, its messages have to name their datasets."""
    first, *others = sorted(feeds)
    if any(other.format != first.format for other in others):
        _log.error("a topic has one format: let all its sources name the same", topic=topic)
    try:
        return Reader(format_named(first.format), None if others else first.dataset or None)
    except Exception as error:  # a plug-in that is missing or broken must not stop the others
        _log.error("topic is not read", topic=topic, why=str(error))
        return None
