"""Ingestion of messages posted to the endpoints of deployed DAGs."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from time import perf_counter

import structlog

from consumers.endpoints import load_endpoint, unknown_endpoint
from consumers.http.endpoint import Endpoint
from consumers.http.ingestion import Ingestion
from consumers.http.ingestion import ingest_messages as ingest
from consumers.http.message import (
    OPENLINEAGE_ENDPOINT,
    HttpMessage,
    endpoint_of,
    http_request,
    stream_of,
)
from consumers.reports import report
from engine.errors import KnockonError, ServiceUnavailable
from engine.flow.deployment.auto_register import auto_register
from engine.model.discovery import DiscoveredDataset
from engine.model.states import KeyScope, Role
from engine.service.caller import Caller, requires
from engine.service.service import Service
from engine.service.streams import is_among, visible_streams
from engine.store.orgs import lineage_epoch

__all__ = [
    "OPENLINEAGE_ENDPOINT",
    "HttpMessage",
    "Ingestion",
    "ingest_messages",
    "ingest_request",
]

_log = structlog.get_logger(__name__)
_ATTEMPTS = 5


@requires(Role.WRITER, scope=KeyScope.INGEST)
async def ingest_request(
    caller: Caller,
    service: Service,
    endpoint: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime | None = None,
) -> Ingestion:
    """Verify, divide and ingest a request to an endpoint; ``now`` is the time of its receipt.

    Raises UnknownName, Forbidden for a missing or wrong signature, InvalidInput for a request that
    cannot be divided, TooManyEvents, and ServiceUnavailable while the endpoint cannot be used.
    Messages that cannot be read or applied become dead letters.
    """
    request = http_request(headers, body)
    seconds = (now or datetime.now(UTC)).timestamp()
    return await _ingest(
        caller, service, endpoint, lambda configured: configured.messages(request, seconds)
    )


@requires(Role.WRITER, scope=KeyScope.INGEST)
async def ingest_messages(
    caller: Caller, service: Service, endpoint: str, messages: Sequence[HttpMessage]
) -> Ingestion:
    """Ingest messages to an endpoint without a signature.

    Raises UnknownName, Forbidden if the endpoint requires signatures, TooManyEvents, and
    ServiceUnavailable.
    """
    return await _ingest(
        caller, service, endpoint, lambda configured: configured.unsigned(messages)
    )


async def _ingest(
    caller: Caller,
    service: Service,
    name: str,
    messages_of: Callable[[Endpoint], Sequence[HttpMessage]],
) -> Ingestion:
    """Ingest messages, again if a deploy has changed how they are to be verified and read."""
    for _ in range(_ATTEMPTS):
        endpoint = await _endpoint(caller, service, name)
        try:
            messages = messages_of(endpoint)
            await service.admit_events(caller, len(messages))
            # Before the transaction, because it may request schemas or register datasets.
            await endpoint.reader.prepare([message.value for message in messages])
            began = perf_counter()
            async with service.transaction(caller) as (conn, org):
                written = await ingest(conn, org, endpoint, messages)
        except KnockonError:
            async with service.transaction(caller) as (conn, _org):
                if await lineage_epoch(conn, caller.org.id) == endpoint.epoch:
                    raise
            service.endpoints.remove(caller.org.id, name)
        else:
            report(written.batch, written.ingested, perf_counter() - began)
            return written.ingestion
    raise ServiceUnavailable("deploys keep changing the sources: send the request again")


async def _endpoint(caller: Caller, service: Service, name: str) -> Endpoint:
    if not caller.sees_everything:
        async with service.snapshot(caller) as (conn, org):
            visible = await service.visibility(caller, conn, org)
            streams = await visible_streams(conn, org, visible)
        if not is_among(stream_of(name), streams):
            raise unknown_endpoint(name, _endpoint_names(streams or ()))
    loaded = service.endpoints.get(caller.org.id, name)
    if loaded is None:

        async def register(discovered: Sequence[DiscoveredDataset]) -> list[DiscoveredDataset]:
            async with service.transaction(caller) as (conn, org):
                return await auto_register(conn, org, discovered)

        async with service.transaction(caller) as (conn, org):
            loaded = await load_endpoint(conn, org, name, register)
        service.endpoints.add(caller.org.id, loaded)
    return loaded


def _endpoint_names(streams: Sequence[str]) -> list[str]:
    return [name for stream in streams if (name := endpoint_of(stream)) is not None]
