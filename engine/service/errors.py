"""Errors of the database, as errors of the service."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from engine.errors import InvalidInput, ServiceUnavailable
from engine.store.failures import is_due_to_data


@contextmanager
def database_errors() -> Iterator[None]:
    """Raise ServiceUnavailable for errors of PostgreSQL, InvalidInput for those due to the data."""
    try:
        yield
    except psycopg.Error as error:
        if is_due_to_data(error):
            reason = error.diag.message_primary or type(error).__name__
            raise InvalidInput(f"the database rejects a value: {reason}") from error
        raise ServiceUnavailable(f"database error: {str(error).strip()}") from error
