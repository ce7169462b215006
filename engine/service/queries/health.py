"""Health of an org: processes, work, sources and consumers."""

from consumers.sources import load_sources
from engine.embedded.broker import Broker
from engine.errors import Forbidden
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.checks.check import Check
from engine.service.checks.inflow import check_endpoints, check_kafka, check_tables
from engine.service.checks.processes import check_processes
from engine.service.checks.work import check_work
from engine.service.service import Service
from engine.store.rows.sources import StoredPosition
from engine.store.run import fetch

__all__ = ["Check", "inflow", "processes", "work"]


_NOT_ALL = (
    "the checks of sources name all topics and tables, and some datasets are hidden from you: "
    "have an admin of the org run them"
)


@requires(Role.READER)
async def processes(caller: Caller, service: Service) -> Check:
    """Check that the processes that the org needs are connected."""
    async with service.snapshot(caller) as (conn, org):
        sources = await load_sources(conn, org)
        has_sources = bool(sources.topics or sources.tables)
        return await check_processes(conn, caller.org.slug, has_sources=has_sources)


@requires(Role.READER)
async def work(caller: Caller, service: Service) -> list[Check]:
    """Check deployed DAGs, and unfinished, failed and abandoned work."""
    async with service.snapshot(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        return [check async for check in check_work(conn, org, visible)]


@requires(Role.READER)
async def inflow(caller: Caller, service: Service, broker: Broker | None) -> list[Check]:
    """Check the topics, endpoints and tables of the DAGs, and the lag of the consumers.

    The transaction ends before the checks of the broker and the source database. Raises Forbidden
    for a caller from whom a dataset is hidden.
    """
    async with service.snapshot(caller) as (conn, org):
        sources, lineage = await load_sources(conn, org), await org.lineage(conn)
        visible = await service.visibility(caller, conn, org)
        if not visible.is_full:
            raise Forbidden(_NOT_ALL)
        rows = await fetch(
            conn,
            "positions.stored",
            StoredPosition,
            org_id=org.id,
            consumer=caller.org.consumer_name,
        )
    stored = {row.stream: row.position for row in rows}
    checks = await check_kafka(broker, sources, stored) if sources.topics else []
    if sources.endpoints:
        checks.append(check_endpoints(sources))
    if sources.tables:
        tables = check_tables(sources, service.source_url, str(caller.org.id), lineage)
        checks += [check async for check in tables]
    return checks
