"""Outcomes of requests: values, the errors of the service, and waits before another attempt."""

import random
from collections.abc import Iterator
from typing import Any, Final, TypeVar

import httpx2
import msgspec

from engine import errors
from engine.client.requests import Request
from engine.errors import InvalidInput, KnockonError, ServiceUnavailable
from engine.service.responses import PROBLEM_TYPE, Problem

T = TypeVar("T")
ATTEMPTS: Final = 5
_TOO_MANY, _UNAVAILABLE = 429, 503
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 30.0
_LONGEST_DETAIL = 1_000
_ERRORS: Final = {
    each.code: each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, KnockonError)
}


def value_of(request: Request[T], response: httpx2.Response) -> T:
    """Return the value of a response. Raises the error of the service."""
    if not response.is_success:
        raise error_of(response)
    try:
        return msgspec.json.decode(response.content, type=request.returns)
    except msgspec.DecodeError as error:
        raise ServiceUnavailable(
            f"the response to {request.method} {request.path} is not one of this version of "
            f"Knockon: {error}: install the version of the server"
        ) from None


def error_of(response: httpx2.Response) -> KnockonError:
    """Return the error in a response, of the class that the operation raises in process."""
    if response.is_redirect:
        target = response.headers.get("location", "another address")
        return InvalidInput(
            f"the server redirects to {target}, to which no key is sent: give that address if you "
            "trust it"
        )
    try:
        problem = msgspec.json.decode(response.content, type=Problem)
    except msgspec.DecodeError:
        return ServiceUnavailable(
            f"the server responds with status {response.status_code}, and not as Knockon does: "
            "check the address"
        )
    return _error(problem)


def seconds_before_retry(
    request: Request[Any], attempt: int, outcome: httpx2.Response | httpx2.TransportError
) -> float | None:
    """Return the wait before another attempt; None if there is to be none.

    After a failure, a request is repeated if it had no effect, or has no other one when repeated.
    """
    if attempt >= ATTEMPTS or not _is_worth_another(request, outcome):
        return None
    waits = _FIRST_WAIT_SECONDS * 2 ** (attempt - 1)
    if isinstance(outcome, httpx2.Response):
        waits = max(waits, _retry_after(outcome))
    # Jitter, so that clients do not return together.
    return None if waits > _LONGEST_WAIT_SECONDS else waits * random.uniform(1, 1.5)  # noqa: S311


def unreachable(url: str, error: httpx2.TransportError) -> ServiceUnavailable:
    """Return the error for a request without a response."""
    reason = str(error) or type(error).__name__
    return ServiceUnavailable(
        f"no response from {url}: {reason}: check the address, and the server"
    )


def _is_worth_another(
    request: Request[Any], outcome: httpx2.Response | httpx2.TransportError
) -> bool:
    if isinstance(outcome, httpx2.TransportError):
        # Without a connection, nothing was sent.
        never_sent = httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout
        return request.is_repeatable or isinstance(outcome, never_sent)
    if outcome.status_code == _TOO_MANY:
        return True
    return outcome.status_code == _UNAVAILABLE and request.is_repeatable


def _retry_after(response: httpx2.Response) -> float:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdecimal() else 0.0


def _error(problem: Problem) -> KnockonError:
    code = problem.type.removeprefix(PROBLEM_TYPE)
    unlisted = InvalidInput if problem.status < 500 and problem.status != _TOO_MANY else None
    kind = _ERRORS.get(code) or unlisted or ServiceUnavailable
    detail = problem.detail or problem.title
    if fields := "; ".join(_fields(problem)):
        detail = f"the request is not valid: {fields}"
    return kind(detail[:_LONGEST_DETAIL] if kind is ServiceUnavailable else detail)


def _fields(problem: Problem) -> Iterator[str]:
    for error in problem.errors:
        yield f"{'.'.join(map(str, error.location[1:]))}: {error.message}"
