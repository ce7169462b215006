"""Client of a schema registry with Confluent's protocol; fetched schemas are cached."""

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
_MAX_REFERENCES = 100
_REFUSALS = (
    httpx2.codes.BAD_REQUEST,
    httpx2.codes.FORBIDDEN,
    httpx2.codes.NOT_FOUND,
    httpx2.codes.UNPROCESSABLE_CONTENT,
)
"""Responses about a single schema, as for an id that no schema can have; others are outages."""


class _Reference(msgspec.Struct, frozen=True):
    name: str
    subject: str
    version: int


class _RegisteredSchema(msgspec.Struct, frozen=True, rename={"type_": "schemaType"}):
    schema: str
    type_: str = "AVRO"
    references: list[_Reference] = []


class _NotFound(Exception):
    """The registry does not have the schema, or does not give it."""


class Registry:
    """The registry at a URL, with credentials from the URL or from the user's netrc file.

    ``${NAME}`` in the URL is replaced by a secret. Raises InvalidInput if the secret is not set.
    """

    def __init__(self, url: str) -> None:
        address = httpx2.URL(resolve_url(url.rstrip("/")))
        self._url = str(address.copy_with(userinfo=b""))  # without credentials, for messages
        self._auth = _auth(address)
        self.schemas = Schemas()

    async def load(self, values: Iterable[bytes | None]) -> None:
        """Fetch the schemas of some messages. Raises ServiceUnavailable if the registry is down.

        A schema that the registry does not have is requested again with the next messages.
        """
        schemas = self.schemas.by_id
        ids = {number for value in values if (number := schema_id(value)) is not None}
        missing = sorted(number for number in ids if isinstance(schemas.get(number, ""), str))
        if not missing:
            return
        async with httpx2.AsyncClient(timeout=_SECONDS, auth=self._auth) as client:
            for number in missing:
                schemas[number] = await self._schema(client, f"/schemas/ids/{number}")

    async def _schema(self, client: httpx2.AsyncClient, path: str) -> Schema | str:
        """Fetch and parse a schema; returns the reason if it cannot be used."""
        try:
            schema = await self._fetch(client, path)
            if schema.type_ == "JSON":
                return JsonSchema(schema.schema)
            if schema.type_ != "AVRO":
                return f"its type is {schema.type_}; use Avro or JSON Schema"
            return AvroSchema.of(schema.schema, await self._references(client, schema, {}))
        except (_NotFound, InvalidEvent) as error:
            return str(error)

    async def _references(
        self, client: httpx2.AsyncClient, schema: _RegisteredSchema, texts: dict[str, str]
    ) -> Mapping[str, str]:
        """The texts of all referenced schemas, in dependency order."""
        for reference in schema.references:
            if reference.name not in texts and len(texts) < _MAX_REFERENCES:
                subject = quote(reference.subject, safe="")
                path = f"/subjects/{subject}/versions/{reference.version}"
                referenced = await self._fetch(client, path)
                await self._references(client, referenced, texts)
                texts[reference.name] = referenced.schema
        return texts

    async def _fetch(self, client: httpx2.AsyncClient, path: str) -> _RegisteredSchema:
        attempts = retrying(_is_transient, attempts=_ATTEMPTS)
        try:
            async for attempt in attempts:
                with attempt:
                    return await self._get(client, path)
        except (httpx2.HTTPError, msgspec.DecodeError) as error:
            raise ServiceUnavailable(
                f"the schema registry {self._url} does not answer {path}: {error!r}; "
                "start the registry, or correct `registry` in the DAG file"
            ) from error
        raise AssertionError("unreachable")

    async def _get(self, client: httpx2.AsyncClient, path: str) -> _RegisteredSchema:
        response = await client.get(self._url + path)
        if response.status_code in _REFUSALS:
            raise _NotFound(f"the registry {self._url} has no {path} ({response.status_code})")
        response.raise_for_status()
        return msgspec.json.decode(response.content, type=_RegisteredSchema)


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, httpx2.HTTPStatusError):
        return error.response.is_server_error
    return isinstance(error, httpx2.TransportError)


def _auth(address: httpx2.URL) -> httpx2.Auth | None:
    """Credentials from the URL, or else from the netrc file if there is one."""
    if address.userinfo:
        return httpx2.BasicAuth(address.username, address.password)
    try:
        return httpx2.NetRCAuth(os.environ.get("NETRC"))
    except OSError:
        return None
