"""A schema registry for tests: the two requests of Confluent's protocol used by readers."""

import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from threading import Thread
from typing import Any

import fastavro


class FakeRegistry:
    """Schemas and received requests; the first ``failures`` responses are errors."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.paths: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.failures = 0
        self.password: str | None = None
        self.unknown = 404

    def put(self, number: int, schema: Any, kind: str = "AVRO", references: Any = ()) -> None:
        body = {"schema": json.dumps(schema), "schemaType": kind, "references": list(references)}
        self.paths[f"/schemas/ids/{number}"] = body

    def put_subject(self, subject: str, version: int, schema: Any, references: Any = ()) -> None:
        body = {"schema": json.dumps(schema), "references": list(references)}
        self.paths[f"/subjects/{subject}/versions/{version}"] = body

    def answer(self, path: str, authorization: str | None) -> tuple[int, dict[str, Any]]:
        self.asked.append(path)
        if self.failures:
            self.failures -= 1
            return 503, {}
        if self.password and authorization != f"Basic {_base64(self.password)}":
            return 401, {}
        return (
            (200, self.paths[path]) if path in self.paths else (self.unknown, {"error_code": 40403})
        )


@contextmanager
def registry() -> Iterator[FakeRegistry]:
    """Run a registry over HTTP during the body."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = fake.answer(self.path, self.headers["Authorization"])
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake = FakeRegistry(server.server_port)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()


def framed(number: int, payload: bytes) -> bytes:
    """A message as encoded by a serializer."""
    return b"\0" + number.to_bytes(4, "big") + payload


def avro(schema: Any, record: Any) -> bytes:
    """A record in Avro, without its schema."""
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), record)
    return out.getvalue()


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
