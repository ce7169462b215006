"""Checks of a single job of a DAG file."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from engine.errors import InvalidMapping
from engine.lineage.catalog import DagContext, Readable
from engine.lineage.check_messages import check_messages
from engine.lineage.schedules import time_dimension
from engine.lineage.self_read import check_self_read, mapping_spec
from engine.lineage.sql import find_query_problem
from engine.model.cron import previous_time
from engine.model.dag import AllBut, Input, JobSpec, Output
from engine.model.dag_fields import EVERY_COLUMN
from engine.model.dag_sources import MessageSource, PostgresSource, ScheduleSource
from engine.model.job import LOCAL
from engine.model.references import is_environment
from engine.model.source_positions import Path, Problem, did_you_mean
from engine.model.states import Activation, ExecutionStrategy, UpdateStrategy
from engine.partitions import Mapping, TimeDimension
from engine.partitions.grains import is_cron
from engine.partitions.limits import MAX_KEYS

_OF_A_SOURCE = {"name", "description", "activation", "source", "outputs"}
_SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)


def check_job(job: JobSpec, path: Path, context: DagContext) -> Iterator[Problem]:
    """Report all problems of a job, including references to its inputs."""
    if job.activation == Activation.SOURCE:
        yield from _check_source(job, path, context)
    else:
        yield from _check_activation(job, path)
        yield from _check_rows(job, path, context)
    yield from _check_outputs(job, path, context)
    yield from _check_aliases(job, path)
    yield from check_self_read(job, path, context)
    for i, job_input in enumerate(job.inputs):
        yield from _check_input(job, job_input, (*path, "inputs", i), context)
    yield from _check_lineage(job, path, context)


def _check_source(job: JobSpec, path: Path, context: DagContext) -> Iterator[Problem]:
    if job.source is None:
        yield Problem(path, "a source job needs `source:`, the feed of its changes")
    for name, field in JobSpec.model_fields.items():
        if name not in _OF_A_SOURCE and getattr(job, name) != field.default:
            yield Problem((*path, name), "source jobs do not run: delete this key")
    if isinstance(job.source, PostgresSource):
        yield from _check_triggers(job, path, context)
    if isinstance(job.source, MessageSource):
        yield from check_messages(job, job.source, (*path, "source"), context.readable)
        if job.source.discover and job.source.discover.dag == context.dag.dag:
            at = (*path, "source", "discover", "dag")
            yield Problem(
                at, "this is the DAG of the file: name a separate DAG for discovered datasets"
            )
    if isinstance(job.source, ScheduleSource):
        yield from _check_schedule(job.source, (*path, "source"))
        yield from _check_covers(job, job.source, path, context)


def _check_triggers(job: JobSpec, path: Path, context: DagContext) -> Iterator[Problem]:
    if len(job.outputs) > 1:
        yield Problem(
            (*path, "outputs"), "a table is a single dataset: write a source job for each output"
        )
    for o, output in enumerate(job.outputs):
        readable = context.readable.get(output.dataset)
        for name, dimension in readable.space.dimensions if readable else ():
            if isinstance(dimension, TimeDimension) and is_cron(dimension.grain):
                yield Problem(
                    (*path, "outputs", o, "partitioning"),
                    f"triggers cannot compute the keys of {name!r} by a cron expression: partition "
                    "the table by `time` or `every`, and a dataset computed from it by `cron`",
                )


def _check_schedule(source: ScheduleSource, path: Path) -> Iterator[Problem]:
    try:
        ZoneInfo(source.zone)
    except (KeyError, ValueError, OSError):
        yield Problem(
            (*path, "zone"),
            f"{source.zone!r} is not an IANA time zone: write one like Europe/Berlin",
        )
    try:
        has_times = previous_time(source.cron, _SOME_TIME) is not None
    except ValueError as error:
        yield Problem((*path, "cron"), f"{error}: write five fields, like '0 2 * * *'")
    else:
        if not has_times:
            yield Problem((*path, "cron"), f"{source.cron!r} matches no existing date")


def _check_covers(
    job: JobSpec, source: ScheduleSource, path: Path, context: DagContext
) -> Iterator[Problem]:
    if source.covers is None or source.covers == "all":
        return
    first, last = source.covers
    if first > last:
        yield Problem(
            (*path, "source", "covers"), f"the first window, {first}, is after the last, {last}"
        )
    if max(abs(first), abs(last)) > MAX_KEYS:
        yield Problem(
            (*path, "source", "covers"),
            f"windows are counted from the time of the event, up to {MAX_KEYS:,}: for all of the "
            "dataset, write covers: all",
        )
    for output in job.outputs:
        readable = context.readable.get(output.dataset)
        if readable and time_dimension(readable.space) is None:
            yield Problem(
                (*path, "source", "covers"),
                f"windows need a dataset with exactly one time dimension, unlike "
                f"{output.dataset!r}: write covers: all",
            )


def _check_activation(job: JobSpec, path: Path) -> Iterator[Problem]:
    if job.source is not None:
        yield Problem(
            (*path, "source"), "only a source has this key: delete it, or set activation: source"
        )
    if job.activation == Activation.REACTIVE and not job.inputs:
        yield Problem(
            path, "a reactive job needs inputs: add them, or set activation: source or manual"
        )
    if job.operator == "sql":
        yield from _check_sql(job, (*path, "config"))
    if "env" in job.config:
        yield from _check_env(job, (*path, "config", "env"))


def _check_env(job: JobSpec, path: Path) -> Iterator[Problem]:
    given = job.config["env"]
    if job.operator == "python":
        yield Problem(path, "Python jobs run in the worker's process: pass values as kwargs")
    elif job.operator == "shell" and not is_environment(given):
        yield Problem(
            path,
            "this must map names of variables to texts: quote numbers; names that begin with "
            "KNOCKON_ are reserved",
        )


def _check_sql(job: JobSpec, path: Path) -> Iterator[Problem]:
    value, outputs = job.config.get("sql"), [output.dataset for output in job.outputs]
    by_output = value if isinstance(value, dict) else dict.fromkeys(outputs[:1], value)
    if by_output.keys() != set(outputs):
        yield Problem(path, f"sql must be a mapping with a SELECT for each of {', '.join(outputs)}")
    elif not all(isinstance(sql, str) and sql.strip() for sql in by_output.values()):
        yield Problem(path, "a job of the operator sql needs config: {sql: SELECT …}")
    elif job.runtime == LOCAL:
        yield from _check_queries(value, (*path, "sql"))


def _check_queries(value: Any, path: Path) -> Iterator[Problem]:
    """Report texts that are certainly not a query; other runtimes may have another dialect."""
    texts = value if isinstance(value, dict) else {None: value}
    for name, text in texts.items():
        if problem := find_query_problem(text):
            at = path if name is None else (*path, name)
            yield Problem(at, f"{problem}; a job has one SELECT, whose rows are its output")


def _check_rows(job: JobSpec, path: Path, context: DagContext) -> Iterator[Problem]:
    """Check the keys for row-level processing: cursor, unique_key, update_strategy."""
    followed = [i for i, job_input in enumerate(job.inputs) if job_input.cursor]
    if job.execution_strategy == ExecutionStrategy.PER_UPDATE:
        if len(followed) != 1:
            yield Problem(
                (*path, "inputs"),
                f"a PerUpdate job follows one input, not {len(followed)}: add `cursor:` to one",
            )
        if job.update_strategy != UpdateStrategy.APPEND:
            yield Problem(
                (*path, "update_strategy"),
                "a PerUpdate job reads only new rows: set update_strategy: append, because replace "
                "would delete earlier rows",
            )
    else:
        for i in followed:
            yield Problem(
                (*path, "inputs", i, "cursor"),
                "only PerUpdate jobs have a cursor: delete this key, or set execution_strategy",
            )
    if job.update_strategy == UpdateStrategy.APPEND and not job.unique_key:
        yield Problem(
            (*path, "unique_key"), "append needs unique_key: name the columns that identify a row"
        )
    for output in job.outputs:
        for i, column in enumerate(job.unique_key):
            at = (*path, "unique_key", i)
            yield from _check_column(
                column, output.dataset, context.readable.get(output.dataset), at
            )


def _check_outputs(job: JobSpec, path: Path, context: DagContext) -> Iterator[Problem]:
    first = context.readable.get(job.outputs[0].dataset)
    for o, output in enumerate(job.outputs):
        readable = context.readable.get(output.dataset)
        if first and readable and readable.space != first.space:
            yield Problem(
                (*path, "outputs", o, "partitioning"),
                f"{output.dataset!r} is partitioned unlike {job.outputs[0].dataset!r}: use the "
                "same partitioning, or a separate job",
            )
        if problem := _appearance_problem(job, output, readable):
            yield Problem((*path, "outputs", o, "appears"), problem)


def _appearance_problem(job: JobSpec, output: Output, readable: Readable | None) -> str | None:
    if output.appears != job.outputs[0].appears:
        return "outputs of a job appear together: write the same value for each"
    if output.appears == Output.model_fields["appears"].default:
        return None
    if job.activation == Activation.SOURCE:
        return "partitions of a source exist once an event names them: delete this key"
    dimensions = readable.space.dimensions if readable else ()
    if not any(isinstance(dimension, TimeDimension) for _, dimension in dimensions):
        return f"{output.dataset!r} has no time dimension: add one, or delete this key"
    return None


def _check_aliases(job: JobSpec, path: Path) -> Iterator[Problem]:
    seen: set[str] = set()
    for i, alias in enumerate(job_input.alias for job_input in job.inputs):
        if alias in seen:
            yield Problem(
                (*path, "inputs", i),
                f"another input has the alias {alias!r}: add a different alias with `as:`",
            )
        seen.add(alias)


def _check_input(job: JobSpec, read: Input, path: Path, context: DagContext) -> Iterator[Problem]:
    source = context.readable.get(read.dataset)
    target = context.readable.get(job.outputs[0].dataset)
    if source is None:
        if read.dataset not in context.datasets:
            hint = did_you_mean(read.dataset, context.datasets)
            where = "these files or of a deployed DAG" if context.has_database else "these files"
            more = "" if context.has_database else "; 'knockon deploy' finds those of deployed DAGs"
            message = f"no job of {where} produces the dataset {read.dataset!r}{hint}{more}"
            yield Problem(path, message)
        return
    if read.cursor:
        at = (*path, "cursor", "column")
        yield from _check_column(read.cursor.column, read.dataset, source, at)
    for column, carriers in (read.passes or {}).items():
        at = (*path, "passes", column)
        yield from _check_column(column, read.dataset, source, at)
        for carrier in carriers:
            yield from _check_carrier(carrier, job, at, context)
    if target is not None:
        yield from _check_mapping(job, read, path, (source, target))


def _check_carrier(
    carrier: str, job: JobSpec, path: Path, context: DagContext
) -> Iterator[Problem]:
    """Report a carrier that is a column of none of the job's outputs."""
    problems = [
        list(_check_column(carrier, output.dataset, context.readable.get(output.dataset), path))
        for output in job.outputs
    ]
    if all(problems):
        yield from problems[0]


def _check_mapping(
    job: JobSpec, read: Input, path: Path, ends: tuple[Readable, Readable]
) -> Iterator[Problem]:
    source, target = (dataset.space for dataset in ends)
    where = f"from {read.dataset!r} to {job.outputs[0].dataset!r}"
    try:
        mapping = Mapping.from_spec(mapping_spec(read, source), source, target, where)
    except InvalidMapping as error:
        yield Problem((*path, "mapping"), str(error))
        return
    universe = source.universe
    most = 1 if mapping.is_identity else universe.count() if universe.is_finite else None
    if most is None or isinstance(read.wait_for, str):
        return
    if isinstance(read.wait_for, AllBut):
        if read.wait_for.all_but >= most:
            yield Problem(
                (*path, "wait_for"),
                f"no output partition has more than {most} input partitions of {read.dataset!r}: "
                "write any",
            )
    elif read.wait_for > most:
        yield Problem(
            (*path, "wait_for"),
            f"no output partition has {read.wait_for} input partitions of {read.dataset!r}: "
            f"write at most {most}",
        )


def _check_lineage(job: JobSpec, path: Path, context: DagContext) -> Iterator[Problem]:
    aliases = {job_input.alias: job_input.dataset for job_input in job.inputs}
    for o, output in enumerate(job.outputs):
        for column, references in (output.lineage or {}).items():
            for r, reference in enumerate(references):
                at = (*path, "outputs", o, "columns", column, r)
                yield from _check_reference(reference, aliases, at, context)
        if output.column_lineage is not None:
            yield from _check_reported(job, output, (*path, "outputs", o, "column_lineage"))


def _check_reported(job: JobSpec, output: Output, path: Path) -> Iterator[Problem]:
    if job.activation == Activation.SOURCE:
        yield Problem(path, "a source job has no runs to report lineage: delete this key")
    elif job.operator == "sql":
        yield Problem(path, "the column lineage comes from the SQL: delete this key")
    elif output.columns is None or output.lineage is not None:
        yield Problem(path, "runs report the lineage of listed columns: write `columns` as a list")


def _check_reference(
    reference: str, aliases: dict[str, str], path: Path, context: DagContext
) -> Iterator[Problem]:
    alias, _, column = reference.partition(".")
    if alias not in aliases:
        hint = did_you_mean(alias, aliases)
        yield Problem(path, f"the job has no input with the alias {alias!r}{hint}")
    elif column != EVERY_COLUMN:
        yield from _check_column(column, aliases[alias], context.readable.get(aliases[alias]), path)


def _check_column(
    column: str, dataset: str, readable: Readable | None, path: Path
) -> Iterator[Problem]:
    if readable and readable.columns is not None and column not in readable.columns:
        known = ", ".join(sorted(readable.columns))
        hint = did_you_mean(column, readable.columns) or f"; it has {known}"
        yield Problem(path, f"{dataset!r} has no column {column!r}{hint}")
