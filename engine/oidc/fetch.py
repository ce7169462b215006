"""Requests to the identity provider, limited in time and size."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import httpx2
import msgspec

from engine.errors import ServiceUnavailable

_SECONDS: Final = 5.0
_MOST_BYTES: Final = 256 * 1024
_HEADERS: Final = {"accept": "application/json", "accept-encoding": "identity"}


async def fetch_json(
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, Any]]:
    """Return the status and the JSON object of the response to a GET, or to a POST of a form.

    Redirects are not followed. Raises ServiceUnavailable.
    """
    try:
        async with (
            asyncio.timeout(_SECONDS),
            httpx2.AsyncClient(follow_redirects=False) as client,
            client.stream(
                "GET" if form is None else "POST",
                url,
                data=None if form is None else dict(form),
                headers={**_HEADERS, **(headers or {})},
            ) as response,
        ):
            return response.status_code, msgspec.json.decode(await _body(response), type=dict)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError) as error:
        reason = str(error) or f"no response within {_SECONDS:g} seconds"
        raise ServiceUnavailable(f"the identity provider does not answer: {reason}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise ServiceUnavailable(f"{url} is not a JSON object: {error}") from error


async def _body(response: httpx2.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise ServiceUnavailable(f"{response.url} has more than {_MOST_BYTES:,} bytes")
    return bytes(body)
