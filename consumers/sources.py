"""How the changes of an org's source datasets come, as its deployed DAGs say."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from consumers.formats.format import Format, format_named
from consumers.formats.reading import Reader
from engine.flow.scene import Scene
from engine.model.event import SourceEvent
from engine.store.database import Connection
from engine.store.run import fetch

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Feed:
    """What a source job says of a topic: its format, and datasets by what messages call them."""

    format: str
    datasets: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sources:
    """``topics`` with what comes by each; ``tables`` with the dataset that each one is."""

    topics: Mapping[str, tuple[Feed, ...]]
    tables: Mapping[str, str]

    def readers(self) -> dict[str, Reader]:
        """A reader for each topic; one that cannot be had is logged, and its topic left alone."""
        return {
            topic: reader
            for topic, feeds in self.topics.items()
            if (reader := _reader(topic, feeds)) is not None
        }


async def load_sources(conn: Connection, scene: Scene) -> Sources:
    """Read what the current DAG versions say of their sources."""
    topics: dict[str, list[Feed]] = defaultdict(list)
    tables: dict[str, str] = {}
    for row in await fetch(conn, "views.sources", org_id=scene.org_id):
        source, datasets = row["source"], row["datasets"]
        if source["kind"] == "kafka":
            topics[source["topic"]].append(_feed(source, datasets))
        elif source["kind"] == "postgres":
            tables[source["table"]] = datasets[0]
    return Sources({topic: tuple(feeds) for topic, feeds in topics.items()}, tables)


def _feed(source: Mapping[str, Any], datasets: Sequence[str]) -> Feed:
    called = source.get("dataset") if len(datasets) == 1 else None
    return Feed(source.get("format", "knockon"), {called or name: name for name in datasets})


def _reader(topic: str, feeds: tuple[Feed, ...]) -> Reader | None:
    formats = sorted({feed.format for feed in feeds})
    if len(formats) > 1:
        _log.error(
            "a topic has one format: let all its sources name the same one",
            topic=topic,
            formats=formats,
        )
    try:
        format_ = format_named(formats[0])
    except Exception as error:  # a plug-in that is missing or broken must not stop the others
        _log.error("topic is not read", topic=topic, why=str(error))
        return None
    return _reader_of(
        format_, {known: name for feed in feeds for known, name in feed.datasets.items()}
    )


def _reader_of(format_: Format, names: Mapping[str, str]) -> Reader:
    """All about the topic's one dataset; where there are several, each message names its own."""
    called = next(iter(names)) if len(names) == 1 else None
    if all(known == name for known, name in names.items()):
        return Reader(format_, called)
    return Reader(_renaming(format_, names), called)


def _renaming(format_: Format, names: Mapping[str, str]) -> Format:
    def read(
        value: bytes | None, headers: Mapping[str, str], dataset: str | None
    ) -> list[SourceEvent]:
        events = format_(value, headers, dataset)
        return [
            msgspec.structs.replace(each, dataset=names.get(each.dataset, each.dataset))
            for each in events
        ]

    return read
