"""Login in a browser: to the identity provider, and back with a code."""

from http import HTTPStatus
from types import NoneType
from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from engine.errors import InvalidInput, Unauthenticated
from engine.http.authentication import ORIGIN, Credential, caller_of
from engine.http.problems import FieldError, RequestError
from engine.http.public_site import PublicSite, is_local_path
from engine.http.resource import Resource
from engine.oidc.pending_login import PendingLogin
from engine.oidc.provider import IdentityProvider
from engine.service.admissions import authenticate_person
from engine.service.commands.sessions import end_session
from engine.service.service import Service
from engine.service.sessions import start_session

login = Resource("/login")
_CALLBACK = "/api/v1/login/callback"
_Org = Annotated[str | None, Query(max_length=100, description="Slug of the org to log in to.")]
_RedirectTo = Annotated[str, Query(description="Path of the site to show after the login.")]
_Answer = Annotated[str, Query(max_length=4_096)]


@login.get(
    "", None, name="begin_login", returns=NoneType, status=HTTPStatus.SEE_OTHER, is_public=True
)
async def begin(request: Request, org: _Org = None, redirect_to: _RedirectTo = "/") -> Response:
    """Redirect the browser to the identity provider."""
    site, provider = _configured(request)
    if not is_local_path(redirect_to):
        raise RequestError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            InvalidInput.code,
            "the request is not valid: correct the fields named in errors",
            errors=[FieldError(["query", "redirect_to"], "give a path that begins with one slash")],
        )
    pending = PendingLogin.begin(org, redirect_to)
    url = await provider.authorization_url(pending, site.url + _CALLBACK)
    response = RedirectResponse(url, HTTPStatus.SEE_OTHER)
    site.keep_login(response, pending.text)
    return response


@login.get(
    "/callback",
    None,
    name="finish_login",
    returns=NoneType,
    status=HTTPStatus.SEE_OTHER,
    is_public=True,
    # Providers add parameters of their own.
    accepts_unknown=True,
)
async def finish(request: Request, state: _Answer = "", code: _Answer = "") -> Response:
    """Start a session for the person whom the identity provider has authenticated."""
    site, provider = _configured(request)
    pending = PendingLogin.parse(request.cookies.get(site.login_cookie, ""))
    if pending is None or not pending.has_state(state) or not is_local_path(pending.redirect_to):
        raise _failed("this browser has not begun the login, or more than ten minutes ago")
    if not code:
        raise _failed("the identity provider has refused it")
    service: Service = request.app.state.service
    person = await provider.redeem(code, pending, site.url + _CALLBACK)
    caller = await authenticate_person(service, person, pending.org, ORIGIN)
    await _end_earlier(request, service, site)
    secret = await start_session(
        service, caller, seconds=site.session_seconds, idle_seconds=site.idle_seconds
    )
    response = RedirectResponse(site.url + pending.redirect_to, HTTPStatus.SEE_OTHER)
    site.forget(response, site.login_cookie)
    site.keep_session(response, secret.text)
    return response


def _configured(request: Request) -> tuple[PublicSite, IdentityProvider]:
    site, provider = request.app.state.site, request.app.state.service.identity_provider
    if site is None or provider is None or not provider.has_client:
        raise RequestError(
            HTTPStatus.NOT_FOUND,
            "login_not_configured",
            "logins in a browser are not configured: have an operator set KNOCKON_PUBLIC_URL, "
            "KNOCKON_OIDC_ISSUER and KNOCKON_OIDC_CLIENT_ID",
        )
    return site, provider


def _failed(why: str) -> RequestError:
    return RequestError(
        HTTPStatus.BAD_REQUEST, "login_failed", f"the login failed: {why}. Log in again"
    )


async def _end_earlier(request: Request, service: Service, site: PublicSite) -> None:
    """End the session of the browser, if any: a login never continues a session."""
    secret = request.cookies.get(site.session_cookie)
    if secret is None:
        return
    try:
        caller = await caller_of(service, Credential(secret, is_session=True))
    except Unauthenticated:
        return
    if caller.session_id is not None:
        await end_session(caller, service, caller.session_id)
