"""A world as DAG files, and as a short description."""

from __future__ import annotations

from typing import Any

from tests.simulation.dimensions import Dimension
from tests.simulation.mapping import Read
from tests.simulation.schedules import CRON
from tests.simulation.world import EVERY, GROUP, Job, Output, World


def dag_file(world: World, dag: str) -> dict[str, Any]:
    return {"dag": dag, "jobs": [_job(job) for job in world.jobs if job.dag == dag]}


def _job(job: Job) -> dict[str, Any]:
    outputs = [_output(job, output) for output in job.outputs]
    if job.is_source:
        outputs = [output | {"storage": {"table": f"table{job.salt}"}} for output in outputs]
        source: dict[str, Any] = {"kind": "manual"}
        if job.covers is not None:
            source = {"kind": "schedule", "cron": CRON, "covers": list(job.covers)}
        return {"name": job.name, "activation": "source", "source": source, "outputs": outputs}
    return {
        "name": job.name,
        **({"activation": "manual"} if job.is_manual else {}),
        **_code(job),
        "execution_strategy": job.strategy,
        **({"update_strategy": "append", "unique_key": ["id"]} if job.append else {}),
        "inputs": [_input(job, read) for read in job.reads],
        "outputs": outputs,
        "scaling": {"partitions_per_task": job.per_task, "priority": job.priority}
        | ({"max_concurrency": job.max_concurrency} if job.max_concurrency else {}),
        "max_attempts": job.max_attempts,
    }


def _code(job: Job) -> dict[str, Any]:
    """Return the operator and its code, never executed: simulated workers compute the result."""
    if job.writes_atomically:
        selects = {output.name: f"SELECT {job.salt}" for output in job.outputs}
        return {"operator": "sql", "config": {"sql": selects}}
    config = {"callable": "nowhere:nothing", "kwargs": {"salt": job.salt}}
    return {"operator": "python", "config": config}


def _output(job: Job, output: Output) -> dict[str, Any]:
    # Worlds share a database, and two worlds may not claim the same table.
    appears = {"after": job.appears} if isinstance(job.appears, int) else job.appears
    return {
        "dataset": output.name,
        **({} if appears == "start" else {"appears": appears}),
        **({"debounce": {"quiet": "1h", "at_most": "2h"}} if job.is_debounced else {}),
        "storage": {"path": output.name},
        "partitioning": {d.name: d.spec() for d in job.space},
        **({"columns": _columns(job, output)} if job.declares_columns else {}),
    }


def _columns(job: Job, output: Output) -> Any:
    ids = ("id",) if job.has_rows else ()
    lineage = output.lineage_by_column
    if lineage is None:
        return [*output.columns, *ids]
    columns = {c: [f"{d}.{i}" for d, i in lineage.get(c, ())] for c in (*output.columns, *ids)}
    every = [f"{d}.{i}" for d, i in lineage.get(EVERY, ())]
    return columns | ({EVERY: every} if every else {})


def _passes(job: Job, read: Read) -> list[str]:
    """Return the names preserving the groups of an input and keeping them separate."""
    grouped = [] if read.grouped is None else [job.space[read.grouped].name]
    return grouped + ([GROUP] if job.preserves_groups(read) else [])


def _input(job: Job, read: Read) -> dict[str, Any]:
    is_exception = isinstance(read.wait_for, int) and read.wait_for < 0
    awaited = {"all_but": -int(read.wait_for)} if is_exception else read.wait_for
    entry: dict[str, Any] = {"dataset": read.dataset, "wait_for": awaited}
    if read == job.own_read:
        entry |= _own_input(job, read)
    elif read.spec is not None:
        entry["mapping"] = read.spec
    if passes := _passes(job, read):
        entry["passes"] = {GROUP: passes}
    if read.cursor:
        entry["cursor"] = {"column": "id", "type": "integer"}
    if read.ignores_failure:
        entry["on_failure"] = "ignore"
    return entry


def _own_input(job: Job, read: Read) -> dict[str, Any]:
    """Return the mapping of an input that is the job's own output, in one of its forms."""
    (window,) = (link.window for link in read.links if link.window)
    ordered = [dimension for dimension in job.space if dimension.is_ordered]
    if len(ordered) == 1 and job.salt % 2:
        return {"dataset": "self", "as": read.dataset, "window": list(window)}
    mapping: dict[str, Any] = {dimension.name: dimension.name for dimension in job.space}
    for link in read.links:
        if link.window:
            name = job.space[link.target].name
            mapping[name] = {"from": name, "window": list(link.window)}
    return {"mapping": mapping}


def describe(world: World) -> list[str]:
    """Return a line for each job."""
    return [_line(job) for job in world.jobs]


def _line(job: Job) -> str:
    partitioning = (
        " by ".join(f"{d.name}:{d.grain or d.kind}{_ends(d)}" for d in job.space) or "unpartitioned"
    )
    outputs = [
        f"{output.name}({', '.join(_columns_text(output))})"
        if job.declares_columns
        else output.name
        for output in job.outputs
    ]
    head = f"{job.dag}.{job.name} produces {' and '.join(outputs)} by {partitioning}"
    if job.is_source:
        gathers = " [debounced]" if job.is_debounced else ""
        gathers += "" if job.covers is None else f" [every day covers {job.covers}]"
        return head + (" [rows are never deleted]" if job.grows else "") + gathers
    kind = (
        ("manual, " if job.is_manual else "")
        + job.kind
        + (", append" if job.append else "")
        + (f", at most {job.max_concurrency} running" if job.max_concurrency else "")
    )
    kind += ", sql" if job.writes_atomically else ""
    kind += "" if job.appears == "start" else f", appears {job.appears}"
    kind += ", debounced" if job.is_debounced else ""
    reads = "; ".join(_read_text(read) for read in job.reads)
    size = f"{job.per_task} partitions per task"
    return f"{head} from {reads} [{job.strategy}, {kind}, {size}, salt {job.salt}]"


def _read_text(read: Read) -> str:
    return (
        f"{read.dataset} {read.spec or 'inferred'}"
        + (f" wait_for {read.wait_for}" if read.wait_for != "any" else "")
        + (" with a cursor" if read.cursor else "")
        + (" ignoring failures" if read.ignores_failure else "")
        + (f" grouped by {GROUP}" if read.grouped is not None else "")
    )


def _ends(d: Dimension) -> str:
    return f" of {len(d.universe)} from {d.universe[0]} {d.zone}" if d.is_finite else " unbounded"


def _columns_text(output: Output) -> list[str]:
    if output.lineage_by_column is None:
        return list(output.columns)
    return [
        f"{column}←{'+'.join(f'{d}.{c}' for d, c in output.lineage_by_column.get(column, ()))}"
        for column in (*output.columns, EVERY)
    ]
