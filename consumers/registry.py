"""A schema registry that speaks Confluent's protocol: schemas are asked for once, and kept."""

import os
from collections.abc import Iterable, Mapping
from urllib.parse import quote

import httpx2
import msgspec

from consumers.formats.confluent import AvroSchema, JsonSchema, Schema, Schemas, schema_id
from engine.errors import InvalidEvent, ServiceUnavailable
from engine.retries import retrying
from engine.secrets import resolve_url

_SECONDS = 5.0
_ATTEMPTS = 4
_MOST_REFERENCES = 100


class _Reference(msgspec.Struct, frozen=True):
    name: str
    subject: str
    version: int


class _Found(msgspec.Struct, frozen=True, rename={"type_": "schemaType"}):
    schema: str
    type_: str = "AVRO"
    references: list[_Reference] = []


class _NotThere(Exception):
    """The registry has no such schema."""


class Registry:
    """The registry at an address, with a user and password in it or in the user's netrc file.

    ``${NAME}`` in the address stands for a secret. Raises InvalidInput where it is not set.
    """

    def __init__(self, url: str) -> None:
        address = httpx2.URL(resolve_url(url.rstrip("/")))
        self._url = str(address.copy_with(userinfo=b""))  # what errors show
        self._auth = _auth(address)
        self.schemas = Schemas()

    async def learn(self, values: Iterable[bytes | None]) -> None:
        """Have the schemas of some messages. Raises ServiceUnavailable if it does not answer.

        What the registry does not have is asked for again with the next messages.
        """
        known = self.schemas.known
        ids = {number for value in values if (number := schema_id(value)) is not None}
        missing = sorted(number for number in ids if isinstance(known.get(number, ""), str))
        if not missing:
            return
        async with httpx2.AsyncClient(timeout=_SECONDS, auth=self._auth) as client:
            for number in missing:
                known[number] = await self._schema(client, f"/schemas/ids/{number}")

    async def _schema(self, client: httpx2.AsyncClient, path: str) -> Schema | str:
        try:
            found = await self._ask(client, path)
            if found.type_ == "JSON":
                return JsonSchema(found.schema)
            if found.type_ != "AVRO":
                return f"it is of type {found.type_}; use Avro or JSON Schema"
            return AvroSchema.of(found.schema, await self._references(client, found, {}))
        except (_NotThere, InvalidEvent) as error:
            return str(error)

    async def _references(
        self, client: httpx2.AsyncClient, schema: _Found, found: dict[str, str]
    ) -> Mapping[str, str]:
        """The texts of the schemas that one refers to, each after those that it refers to."""
        for each in schema.references:
            if each.name not in found and len(found) < _MOST_REFERENCES:
                subject = quote(each.subject, safe="")
                other = await self._ask(client, f"/subjects/{subject}/versions/{each.version}")
                await self._references(client, other, found)
                found[each.name] = other.schema
        return found

    async def _ask(self, client: httpx2.AsyncClient, path: str) -> _Found:
        attempts = retrying(_may_pass, attempts=_ATTEMPTS)
        try:
            async for attempt in attempts:
                with attempt:
                    return await self._get(client, path)
        except (httpx2.HTTPError, msgspec.DecodeError) as error:
            raise ServiceUnavailable(
                f"the schema registry {self._url} does not answer {path}: {error!r}; "
                "start it, or mend `registry` in the DAG file"
            ) from error
        raise AssertionError("unreachable")

    async def _get(self, client: httpx2.AsyncClient, path: str) -> _Found:
        answer = await client.get(self._url + path)
        if answer.status_code == httpx2.codes.NOT_FOUND:
            raise _NotThere(f"the registry {self._url} has no {path}")
        answer.raise_for_status()
        return msgspec.json.decode(answer.content, type=_Found)


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, httpx2.HTTPStatusError):
        return error.response.is_server_error
    return isinstance(error, httpx2.TransportError)


def _auth(address: httpx2.URL) -> httpx2.Auth | None:
    """Who asks, by the address, or by the netrc file where there is one."""
    if address.userinfo:
        return httpx2.BasicAuth(address.username, address.password)
    try:
        return httpx2.NetRCAuth(os.environ.get("NETRC"))
    except OSError:
        return None
