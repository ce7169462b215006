"""Endpoints by org and name, loaded with the sources of deployed DAGs and kept until a deploy."""

from collections.abc import Iterable
from uuid import UUID

from consumers.http.endpoint import Endpoint
from consumers.sources import Feed, Register, load_sources, reader_of
from engine.errors import ServiceUnavailable, UnknownName
from engine.flow.shared.org_context import OrgContext
from engine.model.dag_sources import HttpSource
from engine.model.source_positions import did_you_mean
from engine.store.database import Connection
from engine.store.orgs import lineage_epoch

_MOST = 1_000


class Endpoints:
    """The endpoints used last."""

    def __init__(self) -> None:
        self._by_name: dict[tuple[UUID, str], Endpoint] = {}

    def get(self, org_id: UUID, name: str) -> Endpoint | None:
        """Return the endpoint if it is loaded; its epoch may have passed."""
        return self._by_name.get((org_id, name))

    def add(self, org_id: UUID, endpoint: Endpoint) -> None:
        """Add an endpoint, in place of the one added first if there are too many."""
        self._by_name.pop((org_id, endpoint.name), None)
        if len(self._by_name) >= _MOST:
            del self._by_name[next(iter(self._by_name))]
        self._by_name[org_id, endpoint.name] = endpoint

    def remove(self, org_id: UUID, name: str) -> None:
        """Remove an endpoint, so that it is loaded again."""
        self._by_name.pop((org_id, name), None)


async def load_endpoint(
    conn: Connection, org: OrgContext, name: str, register: Register
) -> Endpoint:
    """Load an endpoint of the org.

    Raises UnknownName if no deployed DAG has it, and ServiceUnavailable if its sources contradict
    each other.
    """
    epoch = await lineage_epoch(conn, org.id)  # first: a later deploy is noticed
    endpoints = (await load_sources(conn, org)).endpoints
    if name not in endpoints:
        raise unknown_endpoint(name, endpoints)
    return _endpoint(name, epoch, endpoints[name], register)


def unknown_endpoint(name: str, endpoints: Iterable[str]) -> UnknownName:
    """Return the error for an unknown endpoint, with a similar one among ``endpoints``."""
    hint = did_you_mean(name, list(endpoints)) or ": deploy a DAG with a source of kind http"
    return UnknownName(f"there is no endpoint {name!r} in this org{hint}")


def _endpoint(name: str, epoch: int, feeds: tuple[Feed, ...], register: Register) -> Endpoint:
    source = feeds[0].source
    try:
        reader = reader_of(feeds, register)
    except Exception as error:  # the sender is to try again once the DAGs are corrected
        raise ServiceUnavailable(f"endpoint {name!r} cannot be read: {error}") from error
    return Endpoint(
        name=name,
        epoch=epoch,
        format=min(feed.source.format for feed in feeds),
        reader=reader,
        signing_secret=source.signing_secret if isinstance(source, HttpSource) else None,
    )
