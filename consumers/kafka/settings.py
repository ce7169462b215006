"""Settings of a Kafka consumer."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from consumers.formats.reading import Reader
from engine.flow.ingestion.ingest import Rejected
from engine.model.event import Batch

Ingest = Callable[[Batch, Rejected], Awaitable[object]]
"""Writes a batch in one transaction. Raises PositionLost if a stored position is not `before`."""

Positions = Callable[[], Awaitable[Mapping[str, str]]]
"""Loads the consumer's stored positions, by stream."""

Start = Literal["earliest", "latest"]

BATCH_SIZE: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """A consumer of some topics.

    `name` identifies the consumer in Knockon's database and is the group at the broker. `readers`
    are by topic. `start` is the offset to start from in topics without a stored position.
    `batch_size` counts messages. `security` has arguments of every aiokafka client:
    security_protocol, ssl_context, …. `dead_letter_topic` receives a copy of rejected messages,
    unless `dead_letter_topics` has another topic for the message's topic. `client` has further
    arguments of AIOKafkaConsumer. `reports_losses` is False for a broker that keeps no messages
    when it stops: messages lost before they were read are then not rejections.
    """

    bootstrap_servers: str
    name: str
    readers: Mapping[str, Reader]
    start: Start = "earliest"
    batch_size: int = BATCH_SIZE
    fetch_max_wait_ms: int = 500
    security: Mapping[str, Any] = field(default_factory=dict, repr=False)
    dead_letter_topic: str | None = None
    dead_letter_topics: Mapping[str, str] = field(default_factory=dict)
    client: Mapping[str, Any] = field(default_factory=dict)
    reports_losses: bool = True

    @property
    def connection(self) -> dict[str, Any]:
        """Arguments of every aiokafka client."""
        return {
            "client_id": "knockon",
            **self.security,
            "bootstrap_servers": self.bootstrap_servers,
        }

    def for_client(self) -> dict[str, Any]:
        """Arguments of AIOKafkaConsumer.

        Knockon manages positions, so the client must neither commit nor reset offsets. New topics
        and partitions are detected within ten seconds.
        """
        return {
            "isolation_level": "read_committed",
            "metadata_max_age_ms": 10_000,
            **self.client,
            **self.connection,
            "group_id": self.name,
            "fetch_max_wait_ms": self.fetch_max_wait_ms,
            "enable_auto_commit": False,
            "auto_offset_reset": "none",
        }
