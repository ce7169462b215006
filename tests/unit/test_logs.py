"""Contents of log lines, and exclusions."""

import logging
import sys

import pytest

from engine.logs import _formatter


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_an_error_is_logged_with_its_location_and_without_variables(
    log_format: str,
) -> None:
    try:
        _fail("hun" + "ter2")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "x", 1, "it broke", (), sys.exc_info())
    told = _formatter(log_format).format(record)
    assert "_fail" in told
    assert "hunter2" not in told
    assert "\x1b" not in told  # colors are for terminals


def _fail(password: str) -> None:
    raise ValueError("no " + "x" * len(password))
