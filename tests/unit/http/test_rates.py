"""Token buckets by key."""

import pytest

from engine.http import rates
from engine.http.problems import RequestError
from engine.http.rates import RateLimit


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def _app(*_: object) -> None:
    raise AssertionError


def limit_of(per_second: float) -> tuple[RateLimit, Clock]:
    clock = Clock()
    return RateLimit(_app, per_second, clock), clock


def test_a_bucket_permits_the_rate() -> None:
    limit, clock = limit_of(2)
    for _ in range(3):
        limit.take("a")
        limit.take("a")
        with pytest.raises(RequestError) as error:
            limit.take("a")
        assert (error.value.status, error.value.headers) == (429, {"retry-after": "1"})
        clock.now += 1


def test_a_rejected_request_costs_nothing() -> None:
    limit, clock = limit_of(0.1)
    limit.take("a")
    for _ in range(9):
        clock.now += 1
        with pytest.raises(RequestError):
            limit.take("a")
    clock.now += 1.001
    limit.take("a")


def test_keys_are_separate() -> None:
    limit, _ = limit_of(1)
    limit.take("a")
    limit.take("b")


def test_the_number_of_buckets_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_MOST_KEYS", 2)
    limit, _ = limit_of(1)
    for key in "abca":  # the bucket of a was dropped
        limit.take(key)
    with pytest.raises(RequestError):
        limit.take("c")
