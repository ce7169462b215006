"""The service: the database of the operations, and the lineage of each org."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import UUID

from consumers.endpoints import Endpoints
from engine.errors import Forbidden, InvalidInput, TooManyEvents
from engine.event_rates import EventRates
from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.loops.notification_listener import NotificationListener, Waker
from engine.monitor.metrics import EVENTS_REFUSED
from engine.outgoing import Networks
from engine.service.batches import Batches
from engine.service.caller import Caller, Org
from engine.service.errors import database_errors
from engine.service.lineage_cache import LineageCache
from engine.service.masking import Mask
from engine.service.searched_names import SearchedNames
from engine.service.visibility import EVERYTHING, Visibility, load_visibility
from engine.store.compatibility import missing_migrations, require_supported_code
from engine.store.database import Connection, Database
from engine.store.migrate import migrate
from engine.store.notifications import TASKS
from engine.store.orgs import ensure_org, org_id, settings
from engine.store.tenancy import TenantDatabase

if TYPE_CHECKING:
    # Commands on the database do not need it, and cryptography is slow to import.
    from engine.oidc.provider import IdentityProvider

__all__ = ["NotificationListener", "Service", "Waker"]

K = TypeVar("K", bound=Hashable)
A = TypeVar("A")
R = TypeVar("R")

_CACHED_LINEAGES = 100
_CACHED_VISIBILITIES = 1_000
_REMEMBERED_KEYS = 10_000
_QUOTA_SECONDS = 5.0
_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


class Service:
    """An open database, with settings of the operations."""

    def __init__(
        self,
        database: Database,
        *,
        source_url: str | None = None,
        webhook_networks: Networks = "public",
        identity_provider: "IdentityProvider | None" = None,
    ) -> None:
        self.database = database
        self.source_url = source_url or database.direct_url
        self.webhook_networks = webhook_networks
        self.identity_provider = identity_provider
        self.endpoints = Endpoints()
        self._orgs_of_keys: dict[str, UUID] = {}
        self._event_rates = EventRates()
        self._event_quotas: dict[UUID, tuple[float, int | None]] = {}
        self._org_context = lru_cache(_CACHED_LINEAGES)(OrgContext)
        self._batches: dict[Any, Batches[Any, Any, Any]] = {}
        self._visibilities: LineageCache[tuple[UUID, frozenset[str]], Visibility]
        self._visibilities = LineageCache(_CACHED_VISIBILITIES)
        self._searched_names: LineageCache[UUID, SearchedNames] = LineageCache(_CACHED_LINEAGES)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        *,
        direct_url: str | None = None,
        source_url: str | None = None,
        webhook_networks: Networks = "public",
        identity_provider: "IdentityProvider | None" = None,
        pool_size: int = 10,
        patient: bool = False,
        migrates: bool = False,
        is_restricted: bool = False,
    ) -> AsyncIterator[Self]:
        """Open a database; see `require_schema`, and `Database` for ``direct_url``.

        ``patient`` waits up to a minute for an unavailable database; ``migrates`` first upgrades
        the schema. ``is_restricted``: PostgreSQL confines each operation to the org of its caller,
        see `engine.store.tenancy`. Raises ServiceUnavailable.
        """
        if migrates:
            await migrate(url, grants_named_tables=True)
        opened = TenantDatabase if is_restricted else Database
        async with await opened.open(
            url, direct_url=direct_url, max_size=pool_size, retry=patient
        ) as database:
            yield cls(
                database,
                source_url=source_url,
                webhook_networks=webhook_networks,
                identity_provider=identity_provider,
            )

    @property
    def opening(self) -> Mapping[str, Any]:
        """Return the arguments of `open` for another process."""
        database = self.database
        return {
            "url": database.url,
            "direct_url": database.direct_url if database.has_pooler else None,
            "source_url": self.source_url,
            "webhook_networks": self.webhook_networks,
            "is_restricted": isinstance(database, TenantDatabase),
        }

    async def require_schema(self) -> None:
        """Check that this code can work with the schema of the database.

        Raises InvalidInput if the database lacks a migration, and OutdatedCode if it requires
        newer code.
        """
        async with self.database.connection() as conn:
            await require_supported_code(conn)
            missing = await missing_migrations(conn)
        if missing:
            raise InvalidInput(
                f"the database lacks migrations {', '.join(missing)}: run 'knockon migrate'"
            )

    def require_unrestricted(self, what: str) -> None:
        """Raise Forbidden if the service lacks rights to run SQL as an org, or for other orgs."""
        if isinstance(self.database, TenantDatabase):
            raise Forbidden(f"{what} is not possible over HTTP: use the command line")

    async def missing_migrations(self) -> list[str]:
        """Return the names of the migrations missing from the database."""
        with database_errors():
            async with self.database.connection() as conn:
                return await missing_migrations(conn)

    async def org(self, slug: str, *, create: bool = False) -> Org:
        """Return the org with a slug, created if missing and ``create``. Raises UnknownName."""
        async with self.database.connection() as conn:
            return Org(await (ensure_org if create else org_id)(conn, slug), slug)

    def task_notifications(self) -> NotificationListener:
        """Return a listener for changes of tasks."""
        return NotificationListener(self.database, [TASKS])

    def org_context(self, org_id: UUID) -> OrgContext:
        """Return the org with its cached lineage."""
        return self._org_context(org_id)

    def batches(
        self, run: Callable[["Service", K, Sequence[A]], Awaitable[Sequence[R | Exception]]]
    ) -> Batches[K, A, R]:
        """Return the batches of the items, by key, that a function handles together."""
        if run not in self._batches:
            self._batches[run] = Batches(partial(run, self))
        return self._batches[run]

    @asynccontextmanager
    async def key_connection(self, prefix: str) -> AsyncIterator[Connection]:
        """Lend a connection to look up a key, in the turns of the org of its last use."""
        async with (
            self.database.turns.turn(self._orgs_of_keys.get(prefix)),
            self.database.connection() as conn,
        ):
            yield conn

    def remember_key(self, prefix: str, org: UUID) -> None:
        """Remember the org of a valid key."""
        if len(self._orgs_of_keys) >= _REMEMBERED_KEYS and prefix not in self._orgs_of_keys:
            del self._orgs_of_keys[next(iter(self._orgs_of_keys))]
        self._orgs_of_keys[prefix] = org

    async def visibility(self, caller: Caller, conn: Connection, org: OrgContext) -> Visibility:
        """Return what the caller sees, loaded once after each deploy."""
        if caller.sees_everything:
            return EVERYTHING
        key, lineage = (org.id, caller.org_roles), await org.lineage(conn)
        cached = self._visibilities.get(key, lineage)
        if cached is None:
            loaded = await load_visibility(conn, org, lineage, caller.org_roles)
            cached = self._visibilities.put(key, lineage, loaded)
        return cached

    async def searched_names(self, org_id: UUID, lineage: Lineage) -> SearchedNames:
        """Return the names to search, collected once after each deploy."""
        cached = self._searched_names.get(org_id, lineage)
        if cached is None:
            collected = await asyncio.to_thread(SearchedNames.of, lineage)  # a second, if large
            cached = self._searched_names.put(org_id, lineage, collected)
        return cached

    async def mask(self, caller: Caller) -> Mask:
        """Return the mask of the names that are hidden from the caller."""
        async with self.snapshot(caller) as (conn, org):
            return (await self.visibility(caller, conn, org)).mask

    async def admit_events(self, caller: Caller, events: int = 1) -> None:
        """Count events of the caller's org before they are written.

        The quota is read every few seconds, because a statement for each event would cost more than
        the check. Raises TooManyEvents.
        """
        org, now = caller.org.id, monotonic()
        read_at, quota = self._event_quotas.get(org, (-math.inf, None))
        if now - read_at > _QUOTA_SECONDS:
            async with self.transaction(caller) as (conn, _):
                quota = (await settings(conn, org)).events_per_second
            self._event_quotas[org] = now, quota
        try:
            self._event_rates.admit(org, quota, events)
        except TooManyEvents:
            EVENTS_REFUSED.labels(caller.org.slug).inc()
            raise

    @asynccontextmanager
    async def transaction(self, caller: Caller) -> AsyncIterator[tuple[Connection, OrgContext]]:
        """Run a command in one transaction, rolled back on an exception."""
        async with self.connection(caller) as (conn, org), conn.transaction():
            yield conn, org

    @asynccontextmanager
    async def snapshot(self, caller: Caller) -> AsyncIterator[tuple[Connection, OrgContext]]:
        """Run a query in one read-only transaction, with one state for all statements."""
        async with self.transaction(caller) as (conn, org):
            await conn.execute(_SNAPSHOT)
            yield conn, org

    @asynccontextmanager
    async def connection(self, caller: Caller) -> AsyncIterator[tuple[Connection, OrgContext]]:
        """Lend a connection to an operation with several transactions."""
        async with self.database.org_connection(caller.org.id) as conn:
            yield conn, self.org_context(caller.org.id)
