"""Coverage of the simulation: the features of generated worlds and histories.

Features of a world are derived here, events of a history are counted by its state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.simulation.dimensions import Space
from tests.simulation.mapping import Read
from tests.simulation.reports import ReportDetail, report_detail
from tests.simulation.spaces import ALPHABETS, GRAINS, MORE_GRAINS
from tests.simulation.world import EVERY, GROUP, Job, Output, World

TOGETHER = ("deploy: several DAGs", "graph: DAGs read each other")
"""Situations of worlds whose DAGs are deployed together."""

GRIDS = (
    *(f"partitioning: {grain}" for grain in MORE_GRAINS),
    *("mapping: window of inputs", "mapping: last of a list", "wait_for: all but"),
)
"""Required features of worlds of grids."""

WORLD = (
    *("graph: chain", "graph: fan", "graph: diamond", "graph: ladder", "graph: across DAGs"),
    *("graph: several outputs", "graph: several sources"),
    *(f"partitioning: {grain}" for grain in GRAINS),
    *(
        "partitioning: range",
        "partitioning: static",
        "partitioning: dynamic",
        "partitioning: none",
        "partitioning: product",
        "partitioning: unbounded",
    ),
    *("partitioning: zone with clock changes", "partitioning: several partitions per task"),
    *("mapping: identity", "mapping: another grain", "mapping: another zone", "mapping: window"),
    *("mapping: another size", "mapping: key map", "mapping: all", "mapping: last"),
    *("mapping: to a product", "mapping: from a product", "mapping: own earlier partitions"),
    *("columns: complete", "columns: partial", "columns: absent", "columns: every"),
    *("strategy: PerPartition", "strategy: PerUpdate", "strategy: Full"),
    *("update: replace", "update: append", "wait_for: all", "wait_for: number", "max_concurrency"),
    *("graph: DAGs read each other", "keys: special characters", "activation: manual"),
    *("rows: grouped", "rows: groups preserved by a job", "rows: window", "rows: join"),
    *(f"report: {detail.value}" for detail in ReportDetail),
    "outputs often unchanged",
    "two orgs",
)
"""Required features of worlds."""

HISTORY = (
    *(
        "insert",
        "update",
        "delete",
        "move",
        "regroup",
        "burst of events",
        "event",
        "event published twice",
    ),
    *("event out of order", "manual request", "event of a range", "event of the whole dataset"),
    *("event of columns", "event of rows by group", "event of rows by id"),
    *("event of rows by partition", "event of a new partition", "ingest during a run"),
    *("output invalidated: manual", "output invalidated: rewritten", "failed task retried"),
    *(f"cancel a {status} task" for status in ("blocked", "queued", "running", "failed")),
    *("false report refused", "invalidation set aside after crashes"),
    *("operator action refused", "output edited in place", "partial write"),
    *(
        "deploy: job added",
        "deploy: job changed",
        "deploy: job or source removed",
        "deploy: rollback",
    ),
    *(
        "deploy: source moved",
        "deploy: source widened",
        "deploy: source narrowed",
        "deploy: task size changed",
    ),
    *("deploy: activation changed", "event of a version", "plan proposed", "proposed plan applied"),
    *("proposed plan outdated", "limit set", "pending plan: approve", "pending plan: reject"),
    *("invalid message", "dead letters replayed"),
    "deploy: column added or removed",
    "deploy: bounds changed",
    *("deploy: wait_for removed", "deploy during a run"),
    *("PerPartition run", "PerUpdate run", "Full run", "SQL run", "all rows reread"),
    "canceled task retried",
    *("pause of kind job", "pause of kind dataset", "pause of kind org", "resume", "quiet time"),
    *("filtered rows reread", "new rows read", "task waiting for inputs"),
    *("event with a fingerprint", "partition described as it is", "schedule fired"),
    *("run that reads its own output", "partitions of a chain wait"),
    "unchanged partition of a chain",
    *("partition changed", "partition unchanged"),
    *("partition changed in some columns", "skipped"),
    *("partition not reported", "some columns reported", "partition emptied by a Full run"),
)
"""Required events of histories."""

CHAINS = ("chain behind an unfinished task",)
"""Required events of chains, too rare for the few seeds of a test."""

FAILURES = (
    *(f"crash during {verb}" for verb in ("ingest", "plan", "claim", "finish", "fail")),
    *(f"crash during {verb}" for verb in ("reap", "deploy", "request")),
    *(f"crash after {verb}" for verb in ("ingest", "plan", "claim", "finish", "fail", "reap")),
    *(f"interruption of {verb}" for verb in ("ingest", "plan", "claim", "finish")),
    *(f"interruption of {verb}" for verb in ("fail", "reap", "deploy")),
    *("expired leases", "completion with a lost lease", "heartbeat with a lost lease"),
    "runs completed together",
    *("worker crashed", "failed attempt", "retried attempt", "lock timeout"),
    *("outdated stream position", "clock jumps ahead", "clock jumps back"),
)
"""Required failures. Lost notifications are not included, because all of them are lost."""

TABLES = tuple(
    f"tables: {name}"
    for name in (
        *("subquery", "filter", "group", "totals", "distinct", "window", "join", "left join"),
        *("join on the partition", "union", "exists", "window over adjacent partitions"),
        *("function", "view", "several outputs", "rows of a group", "granted by hand"),
        *("insert", "update", "delete", "move", "regroup", "event of columns", "event of rows"),
        *(
            "edit during a run",
            "crash during a run",
            "attempt failed",
            "lease lost",
            "tasks completed",
        ),
        *("content unchanged", "output damaged by hand", "code redefined", "SELECT changed"),
        *("input replaced", "SELECT reworded"),
    )
)
"""Required features and events of worlds of real tables."""

PARALLEL = tuple(
    f"parallel: {name}"
    for name in ("event", "engine killed", "worker killed", "lease of a killed worker", "deploy")
)
"""Required events of concurrent processes."""


def features(world: World) -> Counter[str]:
    """Return the features of a world, counted once each."""
    features = {*_graph(world)}
    for job in world.jobs:
        features |= {*_partitioning(job), *_job(job)}
        for read in job.upstream_reads:
            features |= {*_mapping(read, world.producers[read.dataset].space, job.space)}
            features |= {*_rows(world, job, read)}
    return Counter(features)


def missing(
    counts: Counter[str], names: Sequence[str] = (*WORLD, *HISTORY, *FAILURES)
) -> list[str]:
    """Return the required features not covered."""
    return [name for name in names if not counts[name]]


def report(counts: Counter[str]) -> list[str]:
    """Return the number of occurrences per feature, by group."""
    groups = {"worlds": WORLD, "histories": HISTORY, "failures": FAILURES}
    groups |= {"chains": CHAINS, "grids": GRIDS, "tables": TABLES, "parallel": PARALLEL}
    return [
        f"{group}: " + ", ".join(f"{name} {counts[name]}" for name in names)
        for group, names in groups.items()
    ]


def _graph(world: World) -> Iterator[str]:
    upstream = {job.name: _upstream_of(world, job) for job in world.jobs}
    joins = {job.name for job in world.derived_jobs if _joins_arms(world, job, upstream)}
    if any(len(path) >= 4 for path in _paths(world).values()):
        yield "graph: chain"
    if any(len(world.readers(output.name)) > 1 for job in world.jobs for output in job.outputs):
        yield "graph: fan"
    if joins:
        yield "graph: diamond"
    if any(upstream[name] & joins for name in joins):
        yield "graph: ladder"
    yield from _dags(world)
    if any(len(job.outputs) > 1 for job in world.jobs):
        yield "graph: several outputs"
    if len(world.sources) > 1:
        yield "graph: several sources"


def _dags(world: World) -> Iterator[str]:
    read = {
        (world.producers[r.dataset].dag, job.dag) for job in world.derived_jobs for r in job.reads
    }
    across = {(one, other) for one, other in read if one != other}
    if across:
        yield "graph: across DAGs"
    if any((other, one) in across for one, other in across):
        yield "graph: DAGs read each other"


def _upstream_of(world: World, job: Job) -> set[str]:
    """Return the jobs upstream of a job."""
    upstream: set[str] = set()
    for read in job.upstream_reads:
        producer = world.producers[read.dataset]
        upstream |= {producer.name} | _upstream_of(world, producer)
    return upstream


def _joins_arms(world: World, job: Job, upstream: dict[str, set[str]]) -> bool:
    """Return whether two inputs share an upstream job."""
    producers = sorted({world.producers[read.dataset].name for read in job.upstream_reads})
    arms = [upstream[name] for name in producers if upstream[name]]
    return any(arms[i] & arms[j] for i in range(len(arms)) for j in range(i))


def _paths(world: World) -> dict[str, list[str]]:
    """Return the longest path from a source to each job."""
    paths: dict[str, list[str]] = {}
    for job in world.jobs:
        before = [paths[world.producers[read.dataset].name] for read in job.upstream_reads]
        paths[job.name] = [*max(before, key=len, default=[]), job.name]
    return paths


def _partitioning(job: Job) -> Iterator[str]:
    for d in job.space:
        yield f"partitioning: {d.grain or d.kind}"
        if not d.is_finite:
            yield "partitioning: unbounded"
        if d.kind == "time" and d.zone not in ("UTC", "Asia/Kolkata"):
            yield "partitioning: zone with clock changes"
    if not job.space:
        yield "partitioning: none"
    if len(job.space) > 1:
        yield "partitioning: product"
    if job.per_task > 1 and job.space and not job.is_single_run:
        yield "partitioning: several partitions per task"


def _job(job: Job) -> Iterator[str]:
    if job.is_source:
        if job.alphabet != ALPHABETS[0]:
            yield "keys: special characters"
        return
    yield f"strategy: {job.strategy}"
    if job.is_manual:
        yield "activation: manual"
    yield "update: append" if job.append else "update: replace"
    yield f"report: {report_detail(job).value}"
    if job.own_read is not None:
        yield "mapping: own earlier partitions"
    if job.max_concurrency:
        yield "max_concurrency"
    if job.modulus < 3:
        yield "outputs often unchanged"
    yield from _waits(job)
    for output in job.outputs:
        yield from _columns(job, output)


def _waits(job: Job) -> Iterator[str]:
    for read in job.reads:
        if read.wait_for != "any":
            yield "wait_for: all" if read.wait_for == "all" else "wait_for: number"
        if isinstance(read.wait_for, int) and read.wait_for < 0:
            yield "wait_for: all but"


def _columns(job: Job, output: Output) -> Iterator[str]:
    if output.lineage_by_column is None:
        yield "columns: absent"
        return
    declared = {dataset for pairs in output.lineage_by_column.values() for dataset, _ in pairs}
    yield "columns: complete" if {r.dataset for r in job.reads} <= declared else "columns: partial"
    if output.lineage_by_column.get(EVERY):
        yield "columns: every"


def _mapping(read: Read, source: Space, target: Space) -> Iterator[str]:
    if read.spec in ("all", "last", "identity"):
        yield f"mapping: {read.spec}"
    if read.latest is not None and not source[read.latest].is_ordered:
        yield "mapping: last of a list"
    linked = {link.target for link in read.links}
    if linked and len(linked) < len(target):
        yield "mapping: to a product"
    if linked and len(linked) < len(source):
        yield "mapping: from a product"
    for link in read.links:
        one, other = source[link.source], target[link.target]
        features = {
            "mapping: window": link.window,
            "mapping: window of inputs": link.counts_sources,
            "mapping: key map": link.keymap,
            "mapping: another grain": one.grain != other.grain,
            "mapping: another zone": one.kind == "time" and one.zone != other.zone,
            "mapping: another size": one.size != other.size,
        }
        yield from (name for name, is_present in features.items() if is_present)


def _rows(world: World, job: Job, read: Read) -> Iterator[str]:
    producer = world.producers[read.dataset]
    if read.grouped is not None:
        yield "rows: grouped"
        if not producer.is_source and any(
            producer.preserves_groups(upper) for upper in producer.reads
        ):
            yield "rows: groups preserved by a job"
    if job.kind == "window" and GROUP in job.outputs[0].columns:
        yield "rows: window"
    if job.kind == "rows" and len(job.reads) > 1:
        yield "rows: join"
