"""How the changes of an org's source datasets come, as its deployed DAGs say."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import structlog

from consumers.formats.binding import Binding
from consumers.formats.format import BOUND, BOUNDED, format_named
from consumers.formats.openlineage import OpenLineage
from consumers.formats.reading import Reader
from consumers.registry import Registry
from engine.errors import InvalidDag
from engine.flow.scene import Scene
from engine.model.dag import KafkaSource
from engine.model.heard import Heard
from engine.partitions import PartitionSpace
from engine.store.database import Connection
from engine.store.run import Row, fetch

_log = structlog.get_logger(__name__)
Register = Callable[[Sequence[Heard]], Awaitable[Sequence[Heard]]]
"""Has datasets registered that were heard of, and gives those that are."""


@dataclass(frozen=True, slots=True)
class Feed:
    """What a source job says of its topic; without a dataset each message names its own.

    ``partitioning`` and ``columns`` are the dataset's, where a format is bound to one.
    """

    source: KafkaSource
    partitioning: str = "{}"
    columns: frozenset[str] | None = None

    @property
    def binding(self) -> Binding:
        """What its records are."""
        return Binding(
            dataset=self.source.dataset or "",
            space=PartitionSpace.from_spec(msgspec.json.decode(self.partitioning)),
            columns=self.columns,
            source=self.source,
            clock="numbers" if self.source.format == "debezium" else "utc",
        )


@dataclass(frozen=True, slots=True)
class Sources:
    """``topics`` with what comes by each; ``tables`` with the dataset that each one is."""

    topics: Mapping[str, tuple[Feed, ...]]
    tables: Mapping[str, str]

    def readers(self, register: Register) -> dict[str, Reader]:
        """A reader for each topic; one that cannot be had is logged, and its topic left alone."""
        found = {topic: _reader(topic, feeds, register) for topic, feeds in self.topics.items()}
        return {topic: reader for topic, reader in found.items() if reader is not None}

    def dead_letter_topics(self) -> dict[str, str]:
        """By topic, the one that gets its dead letters, where its sources name one."""
        named = {topic: feeds[0].source.dead_letters for topic, feeds in self.topics.items()}
        return {topic: letters for topic, letters in named.items() if letters is not None}


async def load_sources(conn: Connection, scene: Scene) -> Sources:
    """Read what the current DAG versions say of their sources."""
    topics: dict[str, list[Feed]] = defaultdict(list)
    tables: dict[str, str] = {}
    for row in await fetch(conn, "sources.feeds", org_id=scene.org_id):
        source = row["source"]
        if source["kind"] == "kafka":
            topics[source["topic"]].extend(_feeds(row))
        elif source["kind"] == "postgres":
            tables[source["table"]] = row["datasets"][0]
    return Sources({topic: tuple(feeds) for topic, feeds in topics.items()}, tables)


def _feeds(row: Row) -> list[Feed]:
    source = KafkaSource.model_validate(row["source"])
    if source.format not in BOUND:
        return [Feed(source)]
    datasets = [source.dataset] if source.dataset else row["datasets"]
    return [_feed(source, dataset, row["known"][dataset]) for dataset in datasets]


def _feed(source: KafkaSource, dataset: str, known: Mapping[str, Any]) -> Feed:
    columns = known["columns"]
    return Feed(
        source.model_copy(update={"dataset": dataset}),
        known["partitioning"],
        None if columns is None else frozenset(columns),
    )


def _reader(topic: str, feeds: tuple[Feed, ...], register: Register) -> Reader | None:
    formats = sorted({feed.source.format for feed in feeds})
    if len(formats) > 1:
        _log.error("a topic has one format: let all its sources name the same", topic=topic)
    if len({feed.source.dead_letters for feed in feeds}) > 1:
        _log.error("topic is not read: let all its sources name the same dead_letters", topic=topic)
        return None
    alike = [feed for feed in feeds if feed.source.format == formats[0]]
    try:
        return _bound(alike, register) if formats[0] in BOUND else _unbound(alike)
    except Exception as error:  # a plug-in that is missing or broken must not stop the others
        _log.error("topic is not read", topic=topic, why=str(error))
        return None


def _unbound(feeds: list[Feed]) -> Reader:
    """Where jobs share a topic and do not agree, its messages have to name their datasets."""
    first, *others = {feed.source.dataset for feed in feeds}
    name = feeds[0].source.format
    return Reader(format_named(name), None if others else first, is_bounded=name in BOUNDED)


def _bound(feeds: list[Feed], register: Register) -> Reader:
    """Every message tells of the datasets of all jobs that share the topic."""
    make, url = BOUND[feeds[0].source.format], feeds[0].source.registry
    if any(feed.source.registry != url for feed in feeds):
        raise InvalidDag("a topic has one registry: let all its sources name the same")
    registry = Registry(url) if url else None
    schemas = registry.schemas if registry else None
    read = make([feed.binding for feed in feeds], schemas)
    if isinstance(read, OpenLineage):
        learn = partial(_discover, read, register) if read.discovers else None
        return Reader(read, learn=learn, is_bounded=True, told=read.told, run=read.run)
    return Reader(read, learn=registry.learn if registry else None, is_bounded=True)


async def _discover(
    format_: OpenLineage, register: Register, values: Iterable[bytes | None]
) -> None:
    """Have registered what a rule covers and nobody has bound, before it is read."""
    if unheard := format_.unheard(values):
        format_.bind(unheard, await register(list(unheard)))
