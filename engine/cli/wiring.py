"""The consumers of a session, as its settings place them."""

from consumers.postgres.triggers import Tenant
from consumers.run import Consumers, Wiring
from engine.cli.session import Session
from engine.embedded.broker import Broker
from engine.settings import Settings


def consumers_of(session: Session, broker: Broker | None, group: str | None = None) -> Consumers:
    """All consumers of the org; ``group`` is their name, by default `knockon.<org>`."""
    settings = session.settings
    wiring = Wiring(
        name=group or consumer_name(settings),
        source_url=settings.source_url or session.database.url,
        bootstrap_servers=broker.bootstrap_servers if broker else None,
        poll_seconds=settings.poll_seconds,
        heartbeat_seconds=settings.source_heartbeat_seconds,
        start=settings.kafka_start,
        security=broker.security if broker else {},
        dead_letter_topic=settings.dead_letter_topic,
        client=broker.consumer_options if broker else {},
    )
    return Consumers(session.database, session.scene, wiring)


def tenant_of(session: Session) -> Tenant:
    """The session's org as a source database records it."""
    return Tenant(str(session.scene.org_id), consumer_name(session.settings))


def consumer_name(settings: Settings) -> str:
    """The consumers' name in Knockon's ledger, and their group at the broker."""
    return f"knockon.{settings.org}"
