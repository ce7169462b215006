"""Classification of errors: due to the data, or to the database and its environment."""

import psycopg

from engine.errors import LeaseLost, PositionLost, ServiceUnavailable
from engine.store.outages import is_transient

_DUE_TO_DATA = (
    "0A",  # feature not supported
    "21",  # cardinality violation
    "22",  # data exception
    "23",  # integrity constraint violation
    "44",  # WITH CHECK OPTION violation
    "54",  # program limit exceeded
    "P0",  # raised by a trigger
)
_SURROUNDINGS = (OSError, MemoryError, LeaseLost, PositionLost, ServiceUnavailable)


def is_due_to_data(error: Exception) -> bool:
    """Return whether the same data would fail on every retry.

    Outages, deadlocks, serialization failures, timeouts, cancellation, a full server or machine
    and missing privileges are not due to data: a retry or an operator resolves them.
    """
    if isinstance(error, _SURROUNDINGS):
        return False
    if not isinstance(error, psycopg.Error):
        return True
    if error.sqlstate is not None:
        return error.sqlstate[:2] in _DUE_TO_DATA
    return isinstance(error, psycopg.DataError) and not is_transient(error)


def reason_of(error: Exception) -> str:
    """Describe an error in one text, with the type for errors not defined by Knockon."""
    text = str(error).strip()
    if type(error).__module__.startswith("engine."):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def full_text(error: psycopg.Error) -> str:
    """Return PostgreSQL's message with position, detail, hint and context, and the SQLSTATE."""
    text = str(error).strip()
    return f"{text}\nSQLSTATE: {error.sqlstate}" if error.sqlstate else text
