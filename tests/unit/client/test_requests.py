"""Requests and their outcomes, without a server."""

from typing import Any

import httpx2
import msgspec
import pytest

from engine import errors
from engine.client.outcomes import error_of, seconds_before_retry, value_of
from engine.client.requests import Request, optional, segment
from engine.errors import InvalidInput, KnockonError, ServiceUnavailable, UnknownName
from engine.model.states import TaskStatus
from engine.service.responses import PROBLEM_TYPE, FieldError, Problem, Reported

GET: Request[Any] = Request("GET", "/tasks", Reported)
POST: Request[Any] = Request("POST", "/tasks/1/cancel", Reported)
KEYED: Request[Any] = Request("POST", "/x", Reported, headers={"Idempotency-Key": "k"})
SENT = httpx2.ReadTimeout("late")
UNSENT = httpx2.ConnectError("refused")


def response(status: int, content: Any = b"", **headers: str) -> httpx2.Response:
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    return httpx2.Response(status, content=body, headers=headers)


def problem(status: int, code: str, detail: str = "no", **more: Any) -> httpx2.Response:
    return response(status, Problem(PROBLEM_TYPE + code, "T", status, detail, **more))


def test_the_arguments_of_a_request() -> None:
    query = {"status": [TaskStatus.FAILED], "job": None, "open": True, "limit": 5}
    body = {"ids": optional(None), "limit": None, "note": optional("n")}
    request: Request[Any] = Request(
        "POST", "/x", Reported, query, body, headers={"Idempotency-Key": None}
    )
    arguments = request.arguments("kn_a")
    assert arguments["params"] == [("status", "failed"), ("open", "true"), ("limit", "5")]
    assert msgspec.json.decode(arguments["content"]) == {"limit": None, "note": "n"}
    assert arguments["headers"] == {
        "Authorization": "Bearer kn_a",
        "Content-Type": "application/json",
    }
    with_token: Request[Any] = Request("POST", "/x", Reported, token="kt_b")
    assert with_token.arguments("kn_a")["headers"] == {"Authorization": "Bearer kt_b"}


def test_names_cannot_lead_to_another_path() -> None:
    assert segment("a/b?c#d e") == "a%2Fb%3Fc%23d%20e"
    for text in ("", ".", ".."):
        with pytest.raises(InvalidInput, match="neither a name nor an id"):
            segment(text)


@pytest.mark.parametrize(
    ("request_", "outcome", "is_repeated"),
    [
        (GET, SENT, True),
        (POST, SENT, False),
        (KEYED, SENT, True),
        (POST, UNSENT, True),
        (GET, response(503), True),
        (POST, response(503), False),
        (POST, response(429), True),
        (GET, response(500), False),
        (GET, response(404), False),
        (GET, response(200), False),
    ],
)
def test_only_requests_without_another_effect_are_repeated(
    request_: Request[Any], outcome: Any, is_repeated: bool
) -> None:
    assert (seconds_before_retry(request_, 1, outcome) is not None) is is_repeated


def test_waits_grow_and_follow_the_server() -> None:
    first, second = (seconds_before_retry(GET, attempt, SENT) or 0 for attempt in (1, 3))
    assert 0 < first < second
    assert (seconds_before_retry(POST, 1, response(429, **{"retry-after": "7"})) or 0) >= 7
    assert seconds_before_retry(GET, 1, response(503, **{"retry-after": "900"})) is None
    assert seconds_before_retry(GET, 5, SENT) is None


@pytest.mark.parametrize(
    "kind",
    [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, KnockonError) and each is not KnockonError
    ],
    ids=lambda kind: kind.__name__,
)
def test_errors_have_the_class_of_the_operation(kind: type[KnockonError]) -> None:
    raised = error_of(problem(400, kind.code, "no such thing"))
    assert (type(raised), str(raised)) == (kind, "no such thing")


def test_other_responses_are_errors_with_a_remedy() -> None:
    fields = [FieldError(["body", "partitions", 0], "too long")]
    invalid = error_of(problem(422, "invalid_input", errors=fields))
    assert str(invalid) == "the request is not valid: partitions.0: too long"
    assert type(error_of(problem(413, "too_large"))) is InvalidInput
    assert type(error_of(problem(500, "internal_error"))) is ServiceUnavailable
    assert type(error_of(problem(429, "too_many_requests"))) is ServiceUnavailable
    assert type(error_of(problem(404, "unknown_name"))) is UnknownName
    moved = error_of(response(307, location="https://evil.example.com"))
    assert "to which no key is sent" in str(moved)
    assert "check the address" in str(error_of(response(502, b"<html>")))


def test_a_value_of_another_version_is_an_error() -> None:
    task = "01941f29-7c00-7000-8000-000000000000"
    assert str(value_of(GET, response(200, {"task": task, "new": 1})).task) == task
    with pytest.raises(ServiceUnavailable, match="install the version of the server"):
        value_of(GET, response(200, {"other": 1}))
