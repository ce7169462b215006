"""Summaries of errors."""

import traceback
from collections.abc import Callable

import pytest

from engine.wording import summary


def plain() -> None:
    raise ValueError("no such flight\nat the gate")


def chained() -> None:
    try:
        plain()
    except ValueError as error:
        raise KeyError("flight") from error


def grouped() -> None:
    raise ExceptionGroup("two", [ValueError("first"), KeyError("second")])


def unparsed() -> None:
    compile("1 +", "job.py", "exec")


@pytest.mark.parametrize(
    ("fails", "cause"),
    [
        (plain, "ValueError: no such flight"),
        (chained, "KeyError: 'flight'"),
        (grouped, "ExceptionGroup: two (2 sub-exceptions)"),
        (unparsed, "SyntaxError: invalid syntax"),
    ],
)
def test_the_summary_of_a_traceback_is_the_exception(fails: Callable[[], None], cause: str) -> None:
    with pytest.raises((ValueError, KeyError, SyntaxError, ExceptionGroup)) as failed:
        fails()
    assert summary("".join(traceback.format_exception(failed.value))) == cause


def test_the_summary_of_a_message_is_its_first_line() -> None:
    assert summary("division by zero\nCONTEXT:  PL/pgSQL function run_as line 7") == (
        "division by zero"
    )
    assert summary("in a job:\nTraceback (most recent call last):\nValueError") == "in a job:"
    assert summary("Traceback (most recent call last):") == "Traceback (most recent call last):"
    assert (summary(None), summary(""), summary("\n")) == ("", "", "")
