"""Attachments of source tables, and readers of the change log.

The commands write to the source database, possibly not Knockon's own: no transaction spans both.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import psycopg
from psycopg import AsyncConnection

from consumers.postgres import attach as attaching
from consumers.postgres import readers
from consumers.postgres.attach import check_declared
from consumers.postgres.attachments import stored_attachments
from consumers.postgres.schema import is_current
from consumers.postgres.triggers import Tenant
from engine.errors import Forbidden, InvalidInput, ServiceUnavailable
from engine.flow.shared.org_context import OrgContext
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.names import dataset_named
from engine.service.service import Service
from engine.store.addresses import SOURCE_URL, Address
from engine.store.database import Connection
from engine.store.rows.sources import SourceFeed
from engine.store.run import fetch


class Attachment(msgspec.Struct, frozen=True):
    """A table with changes captured as changes of a dataset."""

    table: str
    dataset: str
    announced: bool


class ForgottenReader(msgspec.Struct, frozen=True):
    """A reader without a claim on the change log, and the number of deleted changes."""

    reader: str
    trimmed: int


@requires(Role.ADMIN)
async def attach(
    caller: Caller,
    service: Service,
    table: str,
    dataset: str,
    *,
    columns: Mapping[str, str] | None = None,
    source_url: str | None = None,
    announce: bool = True,
) -> Attachment:
    """Capture the changes of a table as changes of a deployed dataset; safe to repeat.

    ``columns`` maps dimensions to columns with other names. One transaction reads the partitioning,
    one in the source database attaches the table. With ``announce``, further transactions log the
    existing content, a part at a time. The dataset must be a source, and the table the one that
    its DAG file names. Raises InvalidInput, UnknownName, ServiceUnavailable.
    """
    address = _address(caller, service, source_url)
    async with service.snapshot(caller) as (conn, org):
        partitioning = dataset_named(await org.lineage(conn), dataset).partitioning
        declared = await _declared_table(conn, org, dataset)
    async with _source(address) as source:
        await check_declared(source, table, dataset, declared)
        await attaching.attach(
            source,
            _tenant(caller),
            table,
            dataset,
            msgspec.json.decode(partitioning),
            columns,
            announce=announce,
        )
    return Attachment(table, dataset, announce)


@requires(Role.ADMIN)
async def detach(
    caller: Caller, service: Service, table: str, dataset: str, *, source_url: str | None = None
) -> None:
    """Stop capturing the changes of a table; changes captured before are still ingested.

    One transaction, in the source database. Raises InvalidInput, UnknownName, ServiceUnavailable.
    """
    async with _source(_address(caller, service, source_url)) as source:
        await attaching.detach(source, _tenant(caller), table, dataset)


@requires(Role.ADMIN, operator=True)
async def forget_reader(
    caller: Caller, service: Service, reader: str, *, source_url: str | None = None
) -> ForgottenReader:
    """Drop a retired consumer's claim on the change log.

    Reserved for operators, because the consumers of all orgs share the log. A returning consumer
    marks every attached dataset as changed. Raises InvalidInput, UnknownName, ServiceUnavailable.
    """
    async with _source(_address(caller, service, source_url)) as source:
        return ForgottenReader(reader, await readers.forget(source, reader))


@requires(Role.ADMIN)
async def attached_tables(caller: Caller, service: Service) -> list[tuple[str, str]]:
    """List the tables attached in the configured source database, with their datasets.

    Raises ServiceUnavailable, or an error of psycopg.
    """
    async with _source(_address(caller, service, None)) as source:
        if not await is_current(source):
            return []
        rows = await stored_attachments(source, str(caller.org.id))
    return [(row.table, row.dataset) for row in rows]


async def _declared_table(conn: Connection, org: OrgContext, dataset: str) -> str:
    """Return the table that the DAG file names for a source. Raises InvalidInput for others."""
    rows = await fetch(conn, "sources.feeds", SourceFeed, org_id=org.id)
    feed = next((row.source for row in rows if dataset in row.datasets), None)
    if feed is None:
        lineage = await org.lineage(conn)
        job = lineage.producer(dataset_named(lineage, dataset).id)
        raise InvalidInput(
            f"dataset {dataset!r} is written by job {job.name!r} of DAG {job.dag_name!r}: only "
            "tables of sources can be attached; name a source dataset"
        )
    if feed["kind"] != "postgres":
        raise InvalidInput(
            f"source {dataset!r} has the kind {feed['kind']!r} in its DAG file: write source: "
            "{kind: postgres, table: …} there and deploy it, then attach that table"
        )
    return str(feed["table"])


def _tenant(caller: Caller) -> Tenant:
    return Tenant(str(caller.org.id), caller.org.consumer_name)


def _address(caller: Caller, service: Service, url: str | None) -> Address:
    """Return the address of the source database, for an operator possibly another one."""
    if url is not None and not caller.is_operator:
        raise Forbidden("a source database other than the configured one is reserved for operators")
    return Address(service.source_url, SOURCE_URL) if url is None else Address(url, "--source-url")


@asynccontextmanager
async def _source(address: Address) -> AsyncIterator[AsyncConnection[Any]]:
    """Connect to a source database. Raises ServiceUnavailable."""
    try:
        connection = await AsyncConnection.connect(address.url, autocommit=True, connect_timeout=5)
    except psycopg.Error as error:
        problem, remedy = address.failure(error)
        raise ServiceUnavailable(f"source: {problem}; {remedy}") from error
    async with connection:
        yield connection
