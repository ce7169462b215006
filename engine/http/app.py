"""The app of the HTTP service."""

from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from engine.http.attempts import Attempts
from engine.http.authentication import OPENAPI_PATH, Authentication
from engine.http.boundary import Boundary
from engine.http.claims import Claims
from engine.http.costly import CostlyOperations
from engine.http.endpoints import RESOURCES
from engine.http.feed import Feeds
from engine.http.limits import BODY_SECONDS, BodyLimits
from engine.http.openapi import openapi_of
from engine.http.problems import on_http_error, on_invalid_request
from engine.http.public_site import PublicSite
from engine.http.rates import RateLimit
from engine.service.service import Service


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of requests; ``per_second``, ``streams`` and ``waits`` are those of each key.

    ``processes`` run the costly operations, each for up to ``operation_seconds``; ``costly`` is the
    number of those of an org. ``failures`` are those of an address per second.
    """

    body_bytes: int = 8 * 1024 * 1024
    body_seconds: float = BODY_SECONDS
    per_second: float = 1_000.0
    failures: float = 10.0
    streams: int = 20
    waits: int = 200
    processes: int = 2
    operation_seconds: float = 60.0
    costly: int = 20


def http_app(
    service: Service, limits: Limits = Limits(), site: PublicSite | None = None
) -> FastAPI:
    """Return the app; ``app.state.feeds`` is to be stopped before the server.

    ``app.state.costly`` is to be closed after the server. Browsers can log in with a ``site`` and
    the identity provider of the service. The middleware runs in the order below: a request is
    authenticated before its body is read.
    """
    app = FastAPI(
        title="Knockon",
        openapi_url=OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            HTTPException: on_http_error,
            RequestValidationError: on_invalid_request,
        },
        middleware=[
            Middleware(Boundary),
            Middleware(
                Authentication, service=service, attempts=Attempts(limits.failures), site=site
            ),
            Middleware(RateLimit, per_second=limits.per_second),
            Middleware(BodyLimits, max_bytes=limits.body_bytes, seconds=limits.body_seconds),
        ],
    )
    app.state.service = service
    app.state.site = site
    feeds = app.state.feeds = Feeds(service, limits.streams)
    app.state.costly = CostlyOperations(
        service, limits.processes, limits.operation_seconds, limits.costly
    )
    app.state.claims = Claims(service, feeds.stopped, limits.waits)
    for resource in RESOURCES:
        # Included routers would be searched one by one, each at the price of a whole request.
        app.router.routes.extend(resource.router.routes)
    app.openapi = openapi_of(app)  # type: ignore[method-assign]
    return app
