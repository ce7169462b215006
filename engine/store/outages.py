"""Errors of the database that a later attempt may not meet again."""

import psycopg
from psycopg_pool import PoolClosed

_AWAY = {
    "57P01",  # admin shutdown
    "57P02",  # crash shutdown
    "57P03",  # cannot connect now: starting up or shutting down
    "57P05",  # idle session timeout
    "25P03",  # idle in transaction timeout
    "53300",  # too many connections
    "25006",  # read only: connected to a standby after a failover
    "40001",  # serialization failure
    "40P01",  # deadlock
}


def is_transient(error: BaseException) -> bool:
    """Return whether a retry may succeed.

    Transient errors are a lost or refused connection, a server shutting down or starting up, too
    many connections, a deadlock and a serialization failure; not an error in a statement or its
    data.
    """
    if not isinstance(error, psycopg.Error) or isinstance(error, PoolClosed):
        return False
    if error.sqlstate is not None:
        return error.sqlstate in _AWAY or error.sqlstate.startswith("08")
    if isinstance(error, psycopg.InterfaceError):
        return "closed" in str(error)
    return isinstance(error, psycopg.OperationalError)


def is_conflict(error: Exception) -> bool:
    """Return whether a concurrent transaction was in the way: a deadlock, for example."""
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith("40")


def is_starved(error: Exception) -> bool:
    """Return whether the server lacks a resource: disk space, memory or connections."""
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith("53")
