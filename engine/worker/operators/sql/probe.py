"""Analyze a job's SELECT without running it: the columns and types, and the tables read.

The SELECT becomes a temporary view over temporary views of the inputs. PostgreSQL thus checks that
the text is one valid statement that only reads, and the catalog lists the tables.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from psycopg import sql

from engine.errors import InvalidInput
from engine.store.as_org import AsOrg
from engine.worker.operators.sql.column_types import type_name
from engine.worker.operators.sql.reads import PARTITION, Unit, partition_row
from engine.worker.operators.sql.tables import Table

NO_TYPES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType({})
_VIEW = sql.SQL("CREATE TEMP VIEW {} AS {}")
_PROBE = sql.Identifier("knockon_probe")
# A semicolon could end the view's statement and start another. A query opened as a cursor must be a
# single statement.
_ONE_STATEMENT = sql.SQL(
    "DO $knockon_probe$ DECLARE probe refcursor; BEGIN OPEN probe FOR EXECUTE {}; CLOSE probe;"
    " END $knockon_probe$"
)
_COLUMNS = sql.SQL("""
SELECT ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = p.oid AND a.attnum > 0
             ORDER BY a.attnum) AS columns,
       ARRAY(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
             WHERE a.attrelid = p.oid AND a.attnum > 0 ORDER BY a.attnum) AS types,
       ARRAY(SELECT DISTINCT d.refobjid::regclass::text FROM pg_rewrite r
             JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                 AND d.refclassid = 'pg_class'::regclass
             JOIN pg_class c ON c.oid = d.refobjid
             WHERE r.ev_class = p.oid AND c.relnamespace <> pg_my_temp_schema()
             ORDER BY 1) AS others
FROM (SELECT 'pg_temp.knockon_probe'::regclass AS oid) AS p
""")


async def probe(
    org: AsOrg,
    text: str,
    tables: Mapping[str, Table],
    unit: Unit,
    assumed: Mapping[str, Mapping[str, str]] = NO_TYPES,
) -> Mapping[str, str]:
    """Return the types of the SELECT's columns by name.

    ``assumed`` has the types of the columns of inputs without a table, by alias.

    Raises InvalidInput for a table that is not an input of the job, and psycopg's errors for an
    invalid SELECT.
    """
    everything = sql.SQL("SELECT * FROM {}")
    select = as_it_stands(text)
    (analysis,) = await org.fetch(
        *(
            _VIEW.format(sql.Identifier(alias), everything.format(table.identifier))
            for alias, table in tables.items()
        ),
        *(_VIEW.format(sql.Identifier(alias), _typed(types)) for alias, types in assumed.items()),
        _VIEW.format(sql.Identifier(PARTITION), partition_row(unit)),
        _single_statement(org, select),
        _VIEW.format(_PROBE, select),
        _COLUMNS,
    )
    if analysis["others"]:
        raise InvalidInput(
            f"the SELECT reads {', '.join(analysis['others'])}, not declared as inputs of the job: "
            f"read inputs by alias ({', '.join(tables) or 'there are none'}), and declare missing "
            "ones"
        )
    return dict(zip(analysis["columns"], analysis["types"], strict=True))


def _typed(types: Mapping[str, str]) -> sql.Composed:
    """Compose a SELECT of one row of nulls."""
    columns = [
        sql.SQL("CAST(NULL AS {}) AS {}").format(type_name(kind), sql.Identifier(name))
        for name, kind in types.items()
    ]
    return sql.SQL("SELECT {}").format(sql.SQL(", ").join(columns))


def _single_statement(org: AsOrg, select: sql.Composable) -> sql.Composed:
    query = sql.SQL("SELECT * FROM ({}) AS q LIMIT 0").format(select).as_string(org.conn)
    return _ONE_STATEMENT.format(query)


def as_it_stands(text: str) -> sql.SQL:
    """Compose a deployed DAG's SELECT, the only external text that is not quoted."""
    return sql.SQL(f"\n{text}\n")
