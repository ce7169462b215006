"""The topics, endpoints and tables that deliver changes to an org's sources, from its DAGs."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import structlog

from consumers.formats.binding import Binding
from consumers.formats.format import BOUND_FORMATS, CHECKS_BOUNDS, DEFAULT_CLOCKS, format_named
from consumers.formats.openlineage import OpenLineage
from consumers.formats.reading import Reader
from consumers.http.message import stream_of
from consumers.kafka.batches import feed_of
from consumers.schema_registry import Registry
from engine.errors import InvalidDag
from engine.flow.shared.org_context import OrgContext
from engine.model.dag_sources import HttpSource, KafkaSource, MessageSource
from engine.model.discovery import DiscoveredDataset
from engine.partitions import PartitionSpace
from engine.store.database import Connection
from engine.store.rows.sources import SourceFeed
from engine.store.run import fetch

_log = structlog.get_logger(__name__)
Register = Callable[[Sequence[DiscoveredDataset]], Awaitable[Sequence[DiscoveredDataset]]]
"""Registers discovered datasets and returns those that are registered afterwards."""


@dataclass(frozen=True, slots=True)
class Feed:
    """A source job's configuration of its topic or endpoint.

    Without a dataset each message names its own.

    ``partitioning`` and ``columns`` are those of the dataset that the format is bound to.
    """

    source: MessageSource
    partitioning: str = "{}"
    columns: frozenset[str] | None = None

    @property
    def binding(self) -> Binding:
        """The binding of the messages to the dataset."""
        return Binding(
            dataset=self.source.dataset or "",
            space=PartitionSpace.from_spec(msgspec.json.decode(self.partitioning)),
            columns=self.columns,
            source=self.source,
            clock=DEFAULT_CLOCKS.get(self.source.format, "utc"),
        )


@dataclass(frozen=True, slots=True)
class Sources:
    """The feeds of each topic and of each HTTP endpoint, and the dataset of each attached table."""

    topics: Mapping[str, tuple[Feed, ...]]
    endpoints: Mapping[str, tuple[Feed, ...]]
    tables: Mapping[str, str]

    def readers(self, register: Register) -> dict[str, Reader]:
        """A reader for each topic; topics without a usable reader are logged and left out."""
        return _usable("topic", self.topics, register)

    def readers_by_feed(self, register: Register) -> dict[str, Reader]:
        """The readers of topics and endpoints, by their names in Knockon's database."""
        endpoints = _usable("endpoint", self.endpoints, register)
        return {
            **{feed_of(topic): reader for topic, reader in self.readers(register).items()},
            **{stream_of(endpoint): reader for endpoint, reader in endpoints.items()},
        }

    def dead_letter_topics(self) -> dict[str, str]:
        """The dead letter topic of each topic whose sources name one."""
        return {
            topic: feeds[0].source.dead_letters
            for topic, feeds in self.topics.items()
            if isinstance(feeds[0].source, KafkaSource) and feeds[0].source.dead_letters
        }


async def load_sources(conn: Connection, org: OrgContext) -> Sources:
    """Load the sources of an org's current DAG versions."""
    topics: dict[str, list[Feed]] = defaultdict(list)
    endpoints: dict[str, list[Feed]] = defaultdict(list)
    tables: dict[str, str] = {}
    for row in await fetch(conn, "sources.feeds", SourceFeed, org_id=org.id):
        source = row.source
        if source["kind"] == "kafka":
            topics[source["topic"]].extend(_feeds(row, KafkaSource.model_validate(source)))
        elif source["kind"] == "http":
            endpoints[source["endpoint"]].extend(_feeds(row, HttpSource.model_validate(source)))
        elif source["kind"] == "postgres":
            tables[source["table"]] = row.datasets[0]
    return Sources(
        {topic: tuple(feeds) for topic, feeds in topics.items()},
        {endpoint: tuple(feeds) for endpoint, feeds in endpoints.items()},
        tables,
    )


def _feeds(row: SourceFeed, source: MessageSource) -> list[Feed]:
    if source.format not in BOUND_FORMATS:
        return [Feed(source)]
    feeds = []
    for dataset in [source.dataset] if source.dataset else row.datasets:
        columns = row.known[dataset]["columns"]
        feeds.append(
            Feed(
                source.model_copy(update={"dataset": dataset}),
                row.known[dataset]["partitioning"],
                None if columns is None else frozenset(columns),
            )
        )
    return feeds


def _usable(
    kind: str, feeds_by_name: Mapping[str, tuple[Feed, ...]], register: Register
) -> dict[str, Reader]:
    """The readers of topics or endpoints by name."""
    readers = {}
    for name, feeds in feeds_by_name.items():
        try:
            readers[name] = reader_of(feeds, register)
        except Exception as error:  # a missing or broken plug-in must not stop the others
            _log.error(f"{kind} is not read", **{kind: name}, why=str(error))
    return readers


def reader_of(feeds: Sequence[Feed], register: Register) -> Reader:
    """The reader of a topic or endpoint; it reads one format only.

    Raises InvalidDag if its sources contradict each other, InvalidInput for a missing secret, and
    any error of a plug-in.
    """
    formats = sorted({feed.source.format for feed in feeds})
    if len(formats) > 1:
        _log.error(
            "sources of a topic or endpoint have different formats, only one is read: use one "
            "format",
            format=formats[0],
            others=formats[1:],
        )
    for option in ("dead_letters", "signing_secret"):
        if len({getattr(feed.source, option, None) for feed in feeds}) > 1:
            raise InvalidDag(f"its sources differ in {option}: set the same {option} in all")
    same_format = [feed for feed in feeds if feed.source.format == formats[0]]
    is_bound = formats[0] in BOUND_FORMATS
    return _bound(same_format, register) if is_bound else _unbound(same_format)


def _unbound(feeds: list[Feed]) -> Reader:
    """A reader for a format whose messages can name their dataset.

    They must name it if the jobs that share the topic or endpoint have different datasets.
    """
    first, *others = {feed.source.dataset for feed in feeds}
    name = feeds[0].source.format
    return Reader(format_named(name), None if others else first, is_bounded=name in CHECKS_BOUNDS)


def _bound(feeds: list[Feed], register: Register) -> Reader:
    """A reader whose messages apply to the datasets of all jobs with the topic or endpoint."""
    make, url = BOUND_FORMATS[feeds[0].source.format], feeds[0].source.registry
    if any(feed.source.registry != url for feed in feeds):
        raise InvalidDag("its sources name different registries: set the same registry in all")
    registry = Registry(url) if url else None
    schemas = registry.schemas if registry else None
    read = make([feed.binding for feed in feeds], schemas)
    if isinstance(read, OpenLineage):
        return Reader(
            read,
            preload=partial(_discover, read, register) if read.discovers else None,
            is_bounded=True,
            reported_lineage=read.reported_lineage,
            run=read.run,
        )
    return Reader(read, preload=registry.load if registry else None, is_bounded=True)


async def _discover(
    format_: OpenLineage, register: Register, values: Iterable[bytes | None]
) -> None:
    """Register and bind the datasets that a discovery rule finds in messages about to be read."""
    if discovered := format_.discover(values):
        format_.bind(discovered, await register(list(discovered)))
