"""The consumers of an org, as configured by the settings."""

from consumers.run import Consumers, SourceConnections
from engine.cli.runtime.session import Session
from engine.embedded.broker import Broker


def consumers_for(session: Session, broker: Broker | None, group: str | None = None) -> Consumers:
    """All consumers of the org; the name ``group`` defaults to `knockon.<org>`."""
    settings = session.settings
    connections = SourceConnections(
        name=group or session.org.consumer_name,
        source_url=session.service.source_url,
        bootstrap_servers=broker.bootstrap_servers if broker else None,
        poll_seconds=settings.poll_seconds,
        heartbeat_seconds=settings.source_heartbeat_seconds,
        start=settings.kafka_start,
        security=broker.security if broker else {},
        dead_letter_topic=settings.dead_letter_topic,
        client=broker.consumer_options if broker else {},
        reports_losses=broker is None or broker.keeps_messages,
    )
    return Consumers(session.database, session.org_context, connections)
