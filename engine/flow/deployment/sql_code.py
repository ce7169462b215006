"""Hash the definitions of functions, operators and views used by the SELECTs of jobs.

The code is outside the DAG file. Deploys make the hashes part of the definition, and workers
compare the hashes before each run.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import sha256

from engine.errors import InvalidDag, InvalidInput
from engine.flow.deployment.current_versions import CurrentVersion
from engine.lineage.sql.called import Name, mentioned
from engine.model.dag import DagFile, JobSpec
from engine.model.states import Activation
from engine.model.tables import TableName, table_name, table_text
from engine.store.database import Connection
from engine.store.rows.code import CodeObject, Definition
from engine.store.run import execute, fetch

_MOST = 1_000
"""Limit on the objects that one job may use, each looked up before every run."""
_Object = tuple[str, int]
"""System catalog that holds the object, and the object's oid."""


async def with_sql_code(
    conn: Connection, current: Mapping[str, CurrentVersion], dags: Iterable[DagFile], dag: DagFile
) -> DagFile:
    """Return a DAG with hashes of the code used by SELECTs; a job with a ``version`` needs none.

    ``dags`` are all files that are deployed together. Must run in a transaction. Raises InvalidDag.
    """
    tables = dict(_tables(current, dags))
    jobs = {
        job.name: (
            _selects(job),
            [tables[input_.dataset] for input_ in job.inputs if input_.dataset in tables],
        )
        for job in dag.jobs
        if job.activation != Activation.SOURCE and job.operator == "sql" and job.version is None
    }
    selects_of_all = [select for selects, _ in jobs.values() for select in selects]
    if not await _named(
        conn, selects_of_all, {table for _, read in jobs.values() for table in read}
    ):
        return dag.with_code({name: {} for name in jobs})
    try:
        return dag.with_code(
            {name: await used_code(conn, selects, read) for name, (selects, read) in jobs.items()}
        )
    except InvalidInput as error:
        raise InvalidDag(str(error)) from None


async def check_sql_code(
    conn: Connection,
    code: Mapping[str, str],
    selects: Collection[str],
    tables: Collection[TableName],
) -> None:
    """Raise InvalidInput if the code used by SELECTs has changed since the deploy."""
    current = await used_code(conn, selects, tables)
    if current != code:
        raise InvalidInput(
            f"the database has other code than when the DAG was deployed: "
            f"{', '.join(differences(code, current))}; deploy the DAG again, which rebuilds the "
            "outputs of the code, then retry the task"
        )


def differences(deployed: Mapping[str, str], current: Mapping[str, str]) -> Iterator[str]:
    """Describe the differences between two sets of hashes, by name."""
    for name in sorted({*deployed, *current}):
        if name not in current:
            yield f"{name} is missing"
        elif name not in deployed:
            yield f"{name} is new"
        elif deployed[name] != current[name]:
            yield f"{name} has changed"


async def used_code(
    conn: Connection, selects: Iterable[str], tables: Iterable[TableName]
) -> dict[str, str]:
    """Hash each object used by SELECTs over the tables, directly or indirectly.

    Must run in a transaction. Raises InvalidInput for more than a thousand objects.
    """
    hashes: dict[str, str] = {}
    known: set[_Object] = set()
    new = await _named(conn, selects, tables)
    if new:
        await execute(conn, "code.plain_path")
    while new:
        known |= new
        if len(known) > _MOST:
            raise InvalidInput(
                f"a SELECT uses more than {_MOST:,} functions and views: give the job a `version`, "
                "and change it when one of them changes"
            )
        new = await _next(conn, new, hashes) - known
    return hashes


async def _next(conn: Connection, objects: set[_Object], hashes: dict[str, str]) -> set[_Object]:
    """Hash some objects; return the objects used by their definitions."""
    classes, oids = map(list, zip(*sorted(objects), strict=True))
    rows = await fetch(conn, "code.definitions", Definition, classes=classes, oids=oids)
    for row in rows:
        hashes[row.name] = sha256(row.definition.encode()).hexdigest()[:16]
    used = await fetch(conn, "code.depends", CodeObject, classes=classes, oids=oids)
    return _objects(used) | await _in_bodies(conn, [row for row in rows if row.body])


async def _in_bodies(conn: Connection, rows: Iterable[Definition]) -> set[_Object]:
    called: set[tuple[Name, str]] = set()
    named: set[tuple[Name, str]] = set()
    operators: set[str] = set()
    for row in rows:
        mentions = mentioned(row.body)
        called |= {(name, row.home) for name in mentions.called}
        named |= {(name, row.home) for name in mentions.names}
        operators |= mentions.operators
    return await _look_up(conn, called, operators, named)


async def _named(
    conn: Connection, selects: Iterable[str], tables: Iterable[TableName]
) -> set[_Object]:
    """Look up the objects named in SELECTs, and the views among their tables."""
    mentions = [mentioned(select) for select in selects]
    called = {(name, "public") for mention in mentions for name in mention.called}
    operators = {name for mention in mentions for name in mention.operators}
    views = {(Name(*table.parts), "public") for table in tables}
    return await _look_up(conn, called, operators, views)


async def _look_up(
    conn: Connection,
    functions: Collection[tuple[Name, str]],
    operators: Iterable[str],
    views: Collection[tuple[Name, str]],
) -> set[_Object]:
    rows = await fetch(
        conn,
        "code.named",
        CodeObject,
        schemas=[name.schema for name, _ in functions],
        names=[name.name for name, _ in functions],
        homes=[home for _, home in functions],
        operators=list(operators),
        view_schemas=[name.schema for name, _ in views],
        views=[name.name for name, _ in views],
        view_homes=[home for _, home in views],
    )
    return _objects(rows)


def _objects(rows: Iterable[CodeObject]) -> set[_Object]:
    return {(row.catalog, row.oid) for row in rows}


def _selects(job: JobSpec) -> list[str]:
    written = job.config.get("sql")
    texts = written.values() if isinstance(written, dict) else [written]
    return [text for text in texts if isinstance(text, str)]


def _tables(
    current: Mapping[str, CurrentVersion], dags: Iterable[DagFile]
) -> Iterator[tuple[str, TableName]]:
    for version in current.values():
        for dataset in version.compiled.datasets:
            yield dataset.name, table_name(table_text(dataset.storage, dataset.name))
    for job in (job for dag in dags for job in dag.jobs):
        for output in job.outputs:
            yield output.dataset, table_name(table_text(output.storage, output.dataset))
