"""Trying a job's SELECT without running it: its columns, and what it names.

It is made a view on views that stand for the inputs, all of them temporary. So it has to be one
statement, sound by itself, that only reads; and the catalog tells what it reads.
"""

from collections.abc import Mapping

from psycopg import sql

from engine.errors import InvalidInput
from engine.store.as_org import AsOrg
from engine.worker.operators.sql.reads import PARTITION, Unit, partition_row
from engine.worker.operators.sql.tables import Table

_VIEW = sql.SQL("CREATE TEMP VIEW {} AS {}")
_PROBE = sql.Identifier("knockon_probe")
# A semicolon ends the statement in here as it would in the view, but a query that is opened as a
# cursor has to be a single statement.
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
    org: AsOrg, text: str, tables: Mapping[str, Table], unit: Unit
) -> Mapping[str, str]:
    """The columns that the SELECT gives, with their types.

    Raises InvalidInput when it names a table that is none of the job's inputs, psycopg's errors
    when it is no sound SELECT.
    """
    everything = sql.SQL("SELECT * FROM {}")
    select = as_it_stands(text)
    (found,) = await org.fetch(
        *(
            _VIEW.format(sql.Identifier(alias), everything.format(table.identifier))
            for alias, table in tables.items()
        ),
        _VIEW.format(sql.Identifier(PARTITION), partition_row(unit)),
        _alone(org, select),
        _VIEW.format(_PROBE, select),
        _COLUMNS,
    )
    _refuse_others(found["others"], tables)
    return dict(zip(found["columns"], found["types"], strict=True))


def _alone(org: AsOrg, select: sql.Composable) -> sql.Composed:
    query = sql.SQL("SELECT * FROM ({}) AS q LIMIT 0").format(select).as_string(org.conn)
    return _ONE_STATEMENT.format(query)


def as_it_stands(text: str) -> sql.SQL:
    """The one text that comes from outside and is not quoted: a deployed DAG's own SELECT."""
    return sql.SQL(f"\n{text}\n")


def _refuse_others(others: list[str], tables: Mapping[str, Table]) -> None:
    if others:
        raise InvalidInput(
            f"the SELECT reads {', '.join(others)}, which is none of the job's inputs: read "
            f"them by alias ({', '.join(tables) or 'there are none'}), and declare what is missing"
        )
