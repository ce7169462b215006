"""Requests to URLs chosen by users, which must not reach the network of the installation.

The address is resolved and checked once, and the connection is made to that address: a name that
later resolves to another one cannot lead inside. Redirects are not followed.
"""

import asyncio
import socket
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Literal
from urllib.parse import SplitResult, urlsplit

import httpx2

from engine.errors import InvalidInput, ServiceUnavailable

Networks = Literal["public", "any"]
MOST_URL: Final = 2_000
_SECONDS: Final = 10.0
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
"""IPv4 addresses behind a translator."""
_UNICAST: Final = IPv6Network("2000::/3")
"""All that is assigned to hosts on the internet; the rest has embedded and local addresses."""
_PROTOCOLS: Final = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
"""IPv4 addresses of protocols, some of which count as global."""
_PORTS: Final = {"https": 443, "http": 80}


def check_url(url: str, networks: Networks) -> SplitResult:
    """Return the parts of a URL that may be requested. Raises InvalidInput."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidInput(f"{url!r} is not a URL: {error}") from None
    schemes = ("https",) if networks == "public" else ("https", "http")
    if len(url) > MOST_URL or parts.scheme not in schemes or not parts.hostname or port == 0:
        raise InvalidInput(
            f"{url!r} is not a URL to send to: give one of at most {MOST_URL} characters that "
            f"begins with {' or '.join(f'{scheme}://' for scheme in schemes)}"
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(
            "the URL contains a user or password: leave them out, deliveries are signed"
        )
    if not url.isprintable() or not url.isascii() or " " in url:
        raise InvalidInput(f"{url!r} has characters that a URL cannot have: percent-encode them")
    return parts


async def deliver(url: str, headers: Mapping[str, str], body: bytes, networks: Networks) -> None:
    """Send JSON that must be accepted; see `post`. Also raises ServiceUnavailable if it is not."""
    headers = {**headers, "content-type": "application/json", "user-agent": "knockon"}
    status = await post(url, headers, body, networks)
    if not 200 <= status < 300:
        raise ServiceUnavailable(f"the response has status {status}")


async def post(url: str, headers: Mapping[str, str], body: bytes, networks: Networks) -> int:
    """Send a request, and return the status of the response, whose body is not read.

    Raises InvalidInput for a URL that may not be requested, and ServiceUnavailable if there is no
    response within ten seconds.
    """
    parts = check_url(url, networks)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    try:
        async with asyncio.timeout(_SECONDS):
            address = await _resolve(host, port, networks)
            target = httpx2.URL(url).copy_with(host=str(address), port=port)
            async with (
                httpx2.AsyncClient(follow_redirects=False, trust_env=False) as client,
                client.stream(
                    "POST",
                    target,
                    headers={"host": parts.netloc, **headers},
                    content=body,
                    extensions={"sni_hostname": host},
                ) as response,
            ):
                return response.status_code
    except (httpx2.HTTPError, TimeoutError, OSError) as error:
        raise ServiceUnavailable(
            f"{host} does not answer: {str(error) or 'no response within 10 seconds'}"
        ) from error


async def _resolve(host: str, port: int, networks: Networks) -> IPv4Address | IPv6Address:
    """Return an address of a host. Raises InvalidInput if one of them is not public."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [ip_address(info[4][0]) for info in found]
    for address in addresses:
        if networks == "public" and not _is_public(address):
            raise InvalidInput(
                f"{host} has the address {address}, which is not public: have an operator set "
                "KNOCKON_WEBHOOK_NETWORKS to any"
            )
    return addresses[0]


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is on the internet, also for IPv4 addresses embedded in IPv6."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is not None:
            return _is_public(inner)
        if address in _TRANSLATED:
            return _is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        return address in _UNICAST and address.is_global
    is_reserved = any(address in network for network in _PROTOCOLS)
    return address.is_global and not address.is_multicast and not is_reserved
