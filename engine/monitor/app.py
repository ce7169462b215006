"""Metrics and health over HTTP: `/metrics`, `/healthz` and `/readyz`."""

from collections.abc import Awaitable, Callable, Mapping

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from engine.monitor.exposition import Exposition
from engine.monitor.ledger import Ledger
from engine.monitor.pulse import pulses

Lack = Callable[[], Awaitable[str | None]]
"""Says what is missing, None where nothing is."""


def monitor(org: str, lacks: Mapping[str, Lack], ledger: Ledger | None = None) -> FastAPI:
    """The app of a process that acts for ``org``.

    It is ready when all of ``lacks`` are met and no loop waits for anything. With a ``ledger`` its
    gauges are told, too.
    """
    app = FastAPI(title="Knockon", docs_url=None, redoc_url=None, openapi_url=None)
    exposition = Exposition(org, () if ledger is None else (ledger,))

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        if ledger is not None:
            await ledger.refresh()
        text, content_type = exposition.text(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    @app.get("/healthz")
    async def healthz() -> Response:
        return _answer({each.name: _dead(each.age) for each in pulses() if each.is_dead})

    @app.get("/readyz")
    async def readyz() -> Response:
        asked = {name: await lack() for name, lack in lacks.items()}
        asked |= {each.name: each.waits_for for each in pulses() if each.waits_for}
        return _answer({name: why for name, why in asked.items() if why})

    return app


def _dead(age: float) -> str:
    return f"has not turned for {age:.0f} seconds"


def _answer(amiss: Mapping[str, str]) -> Response:
    """200, or 503 with all that is amiss and why."""
    if amiss:
        return JSONResponse({"status": "unavailable", "amiss": dict(amiss)}, 503)
    return JSONResponse({"status": "ok"})
