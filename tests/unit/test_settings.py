"""Bounds of settings."""

from math import inf

import pytest

from engine.errors import InvalidInput
from engine.settings import read_settings


def test_retention_may_be_without_end() -> None:
    settings = read_settings(history_days="inf", idempotency_days="inf")
    assert (settings.history_days, settings.idempotency_days) == (inf, inf)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("history_days", "nan"),
        ("history_days", "0"),
        ("idempotency_days", "nan"),
        ("archive_seconds", "nan"),
        ("archive_seconds", "inf"),
        ("archive_seconds", "1e12"),
    ],
)
def test_periods_without_a_meaning_are_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=f"KNOCKON_{name.upper()} should be .*, not '{value}'"):
        read_settings(**{name: value})
