"""The consumers of an org, as configured by the settings."""

from dataclasses import replace

from consumers.run import Consumers, SourceConnections
from engine.cli.runtime.session import Session
from engine.embedded.broker import Broker
from engine.loops.orgs import ListedOrg, Work, for_each_org
from engine.service.caller import Org


def consumer_work(session: Session, broker: Broker | None) -> Work:
    """The consumers of the session's org, or of every org."""
    if not session.org.is_all:
        return consumers_for(session, broker).run

    def start(org: ListedOrg) -> Work:
        own = replace(session, org=Org(org.id, org.slug))
        return consumers_for(own, broker).run

    return for_each_org(session.database, start)


def consumers_for(session: Session, broker: Broker | None, group: str | None = None) -> Consumers:
    """All consumers of the session's org; the name ``group`` defaults to `knockon.<org>`."""
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
