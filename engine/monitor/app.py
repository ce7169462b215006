"""Metrics and health over HTTP: `/metrics`, `/healthz` and `/readyz`."""

from collections.abc import Awaitable, Callable, Mapping

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from engine.monitor.backlog_gauges import BacklogGauges
from engine.monitor.exposition import Exposition
from engine.monitor.pulse import pulses

ReadinessCheck = Callable[[], Awaitable[str | None]]
"""A condition of readiness: returns the reason for not being ready, or None."""


def monitor(
    org: str, checks: Mapping[str, ReadinessCheck], backlog: BacklogGauges | None = None
) -> FastAPI:
    """Return the app of a process that works for ``org``.

    The process is ready when all ``checks`` pass and no loop waits for a connection.
    ``backlog`` adds its gauges to the metrics.
    """
    app = FastAPI(title="Knockon", docs_url=None, redoc_url=None, openapi_url=None)
    exposition = Exposition(org, () if backlog is None else (backlog,))

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        if backlog is not None:
            await backlog.refresh()
        text, content_type = exposition.text(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    @app.get("/healthz")
    async def healthz() -> Response:
        return _answer(
            {
                pulse.name: f"has not completed a cycle for {pulse.age:.0f} seconds"
                for pulse in pulses()
                if pulse.is_dead
            }
        )

    @app.get("/readyz")
    async def readyz() -> Response:
        reasons = {name: await check() for name, check in checks.items()}
        reasons |= {pulse.name: pulse.waits_for for pulse in pulses()}
        return _answer({name: reason for name, reason in reasons.items() if reason})

    return app


def _answer(problems: Mapping[str, str]) -> Response:
    """Return status 200, or 503 with the reason of every problem."""
    if problems:
        return JSONResponse({"status": "unavailable", "problems": dict(problems)}, 503)
    return JSONResponse({"status": "ok"})
