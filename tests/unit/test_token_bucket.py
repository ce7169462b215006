"""Rates of tokens, and of the events of orgs."""

from uuid import UUID

import pytest

from engine.errors import TooManyEvents
from engine.event_rates import EventRates
from engine.token_bucket import TokenBucket

ORG, OTHER = UUID(int=1), UUID(int=2)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_debts_delay_what_follows() -> None:
    clock = Clock()
    bucket = TokenBucket(clock)
    bucket.spend(10, 60)
    assert bucket.wait(10) == pytest.approx(5.1)
    clock.now += 5.1
    assert bucket.wait(10) == pytest.approx(0, abs=1e-9)


def test_unused_tokens_are_kept_for_a_second() -> None:
    clock = Clock()
    bucket = TokenBucket(clock)
    clock.now += 100
    bucket.spend(10, 10)
    assert bucket.wait(10) == pytest.approx(0.1)


def test_events_beyond_the_quota_are_refused_until_the_large_request_is_paid_for() -> None:
    clock = Clock()
    rates = EventRates(clock)
    rates.admit(ORG, 10, 100)
    for _ in range(2):
        with pytest.raises(TooManyEvents, match="permits 10 events per second") as error:
            rates.admit(ORG, 10, 1)
        assert error.value.seconds == pytest.approx(9.1)
    clock.now += 9.2
    rates.admit(ORG, 10, 1)


def test_orgs_have_separate_rates() -> None:
    rates = EventRates(Clock())
    rates.admit(ORG, 1, 100)
    rates.admit(OTHER, 1, 1)
    rates.admit(ORG, None, 100)


def test_over_any_time_events_read_stay_within_the_quota() -> None:
    clock = Clock()
    rates = EventRates(clock)
    for events in (3, 50, 1, 20, 7) * 10:
        clock.now += rates.debt(ORG, 5, events)
    assert clock.now == pytest.approx((81 * 10 - 5 + 1) / 5)
    assert rates.debt(ORG, None, 1_000) == 0
