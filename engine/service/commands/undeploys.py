"""Undeploy DAGs."""

import msgspec
import psycopg

from engine.errors import ServiceUnavailable
from engine.flow.deployment import created_tables as created
from engine.flow.deployment import undeploy as undeployment
from engine.flow.deployment.created_tables import created_tables
from engine.flow.deployment.current_versions import load_current_versions
from engine.flow.deployment.undeploy import Undeployment, last_undeployed, preview_undeploy
from engine.flow.shared.org_context import OrgContext
from engine.lineage.compiled import CompiledDag
from engine.model.states import Role
from engine.model.tables import TableName
from engine.service.caller import Caller, requires
from engine.service.commands.attachments import attached_tables
from engine.service.service import Service
from engine.store.database import Connection

__all__ = ["Undeployed", "Undeployment", "preview_undeploy_of", "undeploy"]


class Undeployed(msgspec.Struct, frozen=True):
    """Result or preview of an undeploy.

    ``effects`` is None if the DAG was undeployed before, and only its tables remained. ``created``
    are the tables created by Knockon; ``drops_tables``: they are dropped. ``captured`` are the
    tables that remain attached; None if the source database cannot be asked.
    """

    dag_name: str
    effects: Undeployment | None
    created: tuple[str, ...]
    drops_tables: bool
    captured: tuple[str, ...] | None


@requires(Role.ADMIN)
async def preview_undeploy_of(
    caller: Caller, service: Service, dag: str, *, drop_tables: bool = False
) -> Undeployed:
    """Preview an undeploy, with the errors of the undeploy."""
    async with service.snapshot(caller) as (conn, org):
        effects, compiled = await _subject(conn, org, dag, drop_tables)
        tables = await created_tables(conn, org, compiled)
    captured = await _captured(caller, service, effects)
    return _result(dag, effects, tables, drop_tables, captured)


@requires(Role.ADMIN)
async def undeploy(
    caller: Caller, service: Service, dag: str, *, drop_tables: bool = False
) -> Undeployed:
    """Remove a DAG from the current versions, and with ``drop_tables`` its tables.

    Only tables created by Knockon for these datasets are dropped, in a second transaction: a run
    in progress may hold a table until it finds its task canceled. After a failure, repeat the
    request. Raises UnknownName; InvalidInput if jobs of other DAGs read the datasets or if other
    objects depend on the tables; Forbidden with ``drop_tables`` in a restricted service.
    """
    if drop_tables:
        service.require_unrestricted("undeploying a DAG with its tables")
    async with service.transaction(caller) as (conn, org):
        effects, compiled = await _subject(conn, org, dag, drop_tables)
        tables = await created_tables(conn, org, compiled)
        if effects is not None:
            effects = await undeployment.undeploy(conn, org, dag, caller.user, rebuild=drop_tables)
        else:
            await undeployment.rebuild_later(conn, org, dag)
    if drop_tables:
        await _drop(caller, service, tables)
    captured = await _captured(caller, service, effects)
    return _result(dag, effects, tables, drop_tables, captured)


async def _subject(
    conn: Connection, org: OrgContext, dag: str, drop_tables: bool
) -> tuple[Undeployment | None, CompiledDag]:
    """Return the effects of the undeploy, None if it is done, and the content of the DAG."""
    last = await last_undeployed(conn, org, dag) if drop_tables else None
    if last is not None:
        return None, last.compiled
    effects = await preview_undeploy(conn, org, dag)
    return effects, (await load_current_versions(conn, org.id))[dag].compiled


async def _drop(caller: Caller, service: Service, tables: list[TableName]) -> None:
    async with service.connection(caller) as (conn, org):
        try:
            await created.drop_tables(conn, org, tables)
        except BaseException:
            await conn.close()  # a failed statement of the org leaves state in the session
            raise


async def _captured(
    caller: Caller, service: Service, effects: Undeployment | None
) -> tuple[str, ...] | None:
    """Return the tables attached to datasets of the DAG; None if their database does not answer."""
    if effects is None or not effects.tables:
        return ()
    try:
        attached = await attached_tables(caller, service)
    except (ServiceUnavailable, psycopg.Error):
        return None
    datasets = set(effects.datasets)
    return tuple(sorted({table for table, dataset in attached if dataset in datasets}))


def _result(
    dag: str,
    effects: Undeployment | None,
    tables: list[TableName],
    drops: bool,
    captured: tuple[str, ...] | None,
) -> Undeployed:
    return Undeployed(dag, effects, tuple(sorted(map(str, tables))), drops, captured)
