"""Names and types of the columns returned by named statements, as described by the server."""

import re

import psycopg

_PARAMETER = re.compile(r"%\((\w+)\)[sbt]")


def describe(conn: "psycopg.Connection[tuple[str, str]]", statement: str) -> dict[str, str]:
    """Return the columns of a statement in order, with their types; empty if it returns no rows."""
    names = dict.fromkeys(_PARAMETER.findall(statement))
    numbers = {name: f"${number}" for number, name in enumerate(names, start=1)}
    text = _PARAMETER.sub(lambda match: numbers[match[1]], statement).replace("%%", "%")
    prepared = conn.pgconn.prepare(b"", text.encode())
    if prepared.status != psycopg.pq.ExecStatus.COMMAND_OK:
        raise psycopg.errors.error_from_result(prepared)
    result = conn.pgconn.describe_prepared(b"")
    columns = {}
    for index in range(result.nfields):
        name = result.fname(index)
        assert name is not None
        (kind,) = conn.execute(
            "SELECT pg_catalog.format_type(%s, NULL)", [result.ftype(index)]
        ).fetchone() or ("",)
        columns[name.decode()] = kind
    return columns
