"""Addresses of databases: parameters, display without the password, and causes of failures."""

import re
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from engine.errors import InvalidInput

DATABASE_URL = "KNOCKON_DATABASE_URL"
DIRECT_URL = "KNOCKON_DIRECT_URL"
SOURCE_URL = "KNOCKON_SOURCE_URL"
_MALFORMED = "write postgresql://user@host:port/database"
_HOPELESS = (
    ('database ".*" does not exist', "create it, or correct the name of the database in {}"),
    (
        'role ".*" does not exist|authentication failed|no password supplied|not permitted to log',
        "correct the user or the password in {}",
    ),
    ("permission denied for database", "grant CONNECT on the database to the user of {}"),
    (r"pg_hba\.conf", "permit the connection in the server's pg_hba.conf, or correct {}"),
    (
        r"invalid (port|\w+ value)|certificate|does not support SSL",
        "correct the parameters of the connection in {}",
    ),
)
"""Parts of messages of failures that last, with remedies; libpq reports no error code."""
_STARVED = (
    "too many (clients|connections)|connection slots|no more connections",
    "allow the server more connections, or give the processes fewer (KNOCKON_DATABASE_POOL)",
)
_QUESTION = re.compile(r"\s*Is the server running .*\?")
_AWAY = ("", "start it, or set {} to the right address")


@dataclass(frozen=True, slots=True)
class Address:
    """An address of a database, with the name of its setting; shown without its password."""

    url: str = field(repr=False)
    setting: str = DATABASE_URL

    def __str__(self) -> str:
        return display_url(self.url)

    def parameters(self) -> dict[str, Any]:
        """Parse the address. Raises InvalidInput, without the address in its message."""
        try:
            return dict(conninfo_to_dict(self.url))
        except psycopg.ProgrammingError:
            raise InvalidInput(
                f"{self.setting} is not a PostgreSQL address: {_MALFORMED}"
            ) from None

    def failure(self, error: Exception) -> tuple[str, str]:
        """Describe a failed connection: the problem, and the remedy for its cause.

        For a malformed address libpq's message is not used, since it contains the address and hence
        the password.
        """
        if not _is_readable(self.url):
            return f"{self.setting} is not a PostgreSQL address", _MALFORMED
        why = " ".join(_QUESTION.sub("", str(error)).split())
        remedies = (
            remedy for part, remedy in (*_HOPELESS, _STARVED, _AWAY) if re.search(part, why)
        )
        return f"the database {self} cannot be reached: {why}", next(remedies).format(self.setting)


def is_hopeless(error: BaseException) -> bool:
    """Return whether a connection will keep failing until someone corrects the cause."""
    return any(re.search(part, str(error)) for part, _ in _HOPELESS)


def display_url(url: str) -> str:
    """Return the address without its password, safe for logs."""
    if not _is_readable(url):
        return "(not a PostgreSQL address)"
    parts = conninfo_to_dict(url)
    host = parts.get("host") or "localhost"
    return f"{parts.get('user', '')}@{host}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"


def _is_readable(url: str) -> bool:
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return False
    return True
