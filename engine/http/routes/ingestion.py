"""Messages of other systems, posted to the endpoints of deployed DAGs."""

from http import HTTPStatus
from typing import Annotated

from fastapi import Path
from starlette.responses import Response

from engine.http.call import Call
from engine.http.problems import RequestError
from engine.http.resource import Resource
from engine.model.event import MAX_TEXT
from engine.service.commands.ingestion import OPENLINEAGE_ENDPOINT, ingest_request

sources = Resource("/sources")
run_events = Resource("/lineage")
_Name = Annotated[str, Path(max_length=MAX_TEXT, description="Endpoint named in a DAG file.")]


@sources.post("/{endpoint}", ingest_request, is_raw=True)
async def post_messages(call: Call, endpoint: _Name) -> Response:
    """Ingest the messages of a request; rejected ones become dead letters."""
    return await _ingest(call, endpoint)


@run_events.post("", ingest_request, name="ingest_run_events", is_raw=True)
async def post_run_events(call: Call) -> Response:
    """Ingest OpenLineage run events at the endpoint `openlineage`."""
    return await _ingest(call, OPENLINEAGE_ENDPOINT)


async def _ingest(call: Call, endpoint: str) -> Response:
    """Ingest the body as received, because a signature covers its bytes. Raises RequestError."""
    headers = call.request.headers
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise RequestError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported_encoding",
            "compressed bodies are not read: send the body without Content-Encoding",
        )
    body = await call.request.body()
    return await call.answer(ingest_request, endpoint, headers, body)
