"""Limits on attempts to authenticate with credentials that are not known to be valid."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from ipaddress import IPv6Address, ip_address

from starlette.types import Scope

from engine.errors import LeaseLost, Unauthenticated
from engine.http.rates import Buckets

_BURST_SECONDS = 10.0
_LOOKUPS = 4
"""Lookups of unknown credentials at once: the other connections are left to valid keys."""
_MOST_KNOWN = 10_000
_REFUSAL = "an address permits {rate:g} requests without a valid key per second: send fewer"


class Attempts:
    """Failed attempts of each client address, and the credentials that were valid before.

    An address with too many failures is refused for a while, except for credentials that were valid
    before: others behind the same address are not locked out. Every credential is looked up in any
    case.
    """

    def __init__(self, per_second: float) -> None:
        self._failures = Buckets(per_second, _REFUSAL, _BURST_SECONDS)
        self._lookups = asyncio.Semaphore(_LOOKUPS)
        self._known: OrderedDict[bytes, None] = OrderedDict()

    @asynccontextmanager
    async def attempt(self, scope: Scope, credential: str) -> AsyncIterator[None]:
        """Admit the lookup of a credential, and record its result. Raises RequestError."""
        digest = sha256(credential.encode(errors="surrogateescape")).digest()
        if digest in self._known:
            try:
                yield
            except (Unauthenticated, LeaseLost):
                self._known.pop(digest, None)
                raise
            return
        address = address_of(scope)
        self._failures.require(address)
        async with self._lookups:
            try:
                yield
            except (Unauthenticated, LeaseLost):
                self._failures.spend(address)
                raise
        self._known[digest] = None
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)

    def count(self, scope: Scope) -> None:
        """Count a request that needs no credential like a failure. Raises RequestError."""
        address = address_of(scope)
        self._failures.require(address)
        self._failures.spend(address)


def address_of(scope: Scope) -> str:
    """Return the address of the client, for IPv6 that of its network.

    A proxy's header is part of it only if the proxy is trusted: see `KNOCKON_HTTP_TRUSTED_PROXIES`.
    """
    host = scope["client"][0] if scope.get("client") else ""
    try:
        address = ip_address(host)
    except ValueError:
        return str(host)
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else address.exploded[:19]
    return str(address)
