"""Small lineages in compact notation, and plans over them as names and texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import msgspec
from msgspec.structs import replace

from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.invalidation import Invalidation
from engine.model.job import Job, JobInput
from engine.planner import Plan, lookup_in, plan

Spec = dict[str, Any]
Made = tuple[list[Dataset], Job]

DAY: Spec = {"dt": {"time": "day", "column": "day"}}
MONTH: Spec = {"dt": {"time": "month"}}
ORIGIN: Spec = {"origin": {"static": ["EWR", "JFK", "LGA"]}}
TAIL: Spec = {"tail": {"dynamic": True}}

NOW = datetime(2026, 1, 1, tzinfo=UTC)
"""The time of plans; windows in earlier years have begun."""

_NAMES = UUID(int=0)


def dataset_id(name: str) -> UUID:
    return uuid5(_NAMES, f"dataset {name}")


def job_id(name: str) -> UUID:
    return uuid5(_NAMES, f"job {name}")


def reads(name: str, mapping: Any = None, **more: Any) -> JobInput:
    return JobInput(dataset_id(name), name, more.pop("alias", name), mapping, **more)


def source(name: str, partitioning: Spec | None = None) -> Made:
    return made(name, partitioning, activation="source")


def made(
    name: str,
    partitioning: Spec | None,
    *inputs: str | JobInput,
    also: Iterable[str] = (),
    **more: Any,
) -> Made:
    """A job with a dataset of the same name, and further datasets in ``also``."""
    text = json.dumps(partitioning or {})
    datasets = [
        Dataset(dataset_id(n), uuid5(_NAMES, f"version {n}"), n, text) for n in (name, *also)
    ]
    settings = {"activation": "reactive", "strategy": "PerPartition"} | more
    job = Job(
        id=job_id(name),
        name=name,
        dag_name="small",
        inputs=tuple(reads(each) if isinstance(each, str) else each for each in inputs),
        outputs=tuple(dataset.id for dataset in datasets),
        **settings,
    )
    return datasets, job


def lineage(*jobs: Made, columns: Iterable[str] = ()) -> Lineage:
    """Column lineage as ``output.column <- input.column``."""
    datasets = [dataset for outputs, _ in jobs for dataset in outputs]
    bare = [job for _, job in jobs]
    return Lineage.build(datasets, with_columns(bare, map(_column_edge, columns)))


ColumnEdge = tuple[UUID, str, UUID, str]
"""(output dataset, output column, input dataset, input column)."""


def with_columns(jobs: Iterable[Job], edges: Iterable[ColumnEdge]) -> list[Job]:
    """The jobs with the column edges of their outputs, in the form loaded by the store."""
    by_output: dict[UUID, list[ColumnEdge]] = {}
    for edge in edges:
        by_output.setdefault(edge[0], []).append(edge)
    return [
        replace(job, columns=_columns([e for o in job.outputs for e in by_output.get(o, ())]))
        for job in jobs
    ]


def _columns(edges: Iterable[ColumnEdge]) -> str | None:
    found: dict[tuple[UUID, UUID], tuple[list[str], list[str]]] = {}
    for output, to, read, by in edges:
        outputs, inputs = found.setdefault((output, read), ([], []))
        outputs.append(to)
        inputs.append(by)
    listed = [(*ends, *columns) for ends, columns in found.items()]
    return msgspec.json.encode(listed).decode() if listed else None


def _column_edge(text: str) -> ColumnEdge:
    (output, to), (read, by) = (end.strip().split(".") for end in text.split("<-"))
    return dataset_id(output), to, dataset_id(read), by


def change(name: str, partitions: str | None = None, **more: Any) -> Invalidation:
    """``columns`` as text, separated by blanks."""
    columns = more.pop("columns", None)
    return Invalidation(
        id=more.pop("id", uuid5(_NAMES, f"change {name} {partitions} {columns} {more}")),
        dataset=dataset_id(name),
        version=uuid5(_NAMES, f"version {name}"),
        reason=more.pop("reason", "change"),
        partition_key=partitions,
        columns=None if columns is None else frozenset(columns.split()),
        **more,
    )


def planned(
    within: Lineage,
    *changes: Invalidation,
    existing: Mapping[str, str | None] | None = None,
    now: datetime = NOW,
) -> Plan:
    """``existing`` partitions as text by dataset name, None: none; others raise MissingState."""
    loaded = {
        dataset_id(name): within.space(dataset_id(name)).from_keys(text.split() if text else [])
        for name, text in (existing or {}).items()
    }
    return plan(within, changes, lookup_in(loaded), now)


def steps(within: Lineage, found: Plan) -> dict[str, str]:
    """Each step's partitions by job name, in order."""
    return {within.job(s.job).name: texts(s.partitions) for s in found.steps}


def directly_invalidated(within: Lineage, found: Plan) -> dict[str, str]:
    return {within.job(s.job).name: texts(s.directly_invalidated) for s in found.steps}


def pruned(within: Lineage, found: Plan) -> list[tuple[str, str | None, str]]:
    return [
        (within.dataset(p.dataset).name, p.job and within.job(p.job).name, p.rule)
        for p in found.pruned
    ]


def texts(partitions: Any) -> str:
    return " ".join(partitions.space.texts(partitions))
