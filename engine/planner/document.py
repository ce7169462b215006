"""A plan as JSON: what is kept with the tasks, shown for approval, and asked for reasons later.

``{steps, pruned, stamps, causes}``. A step has its ``job`` id and ``name``, its ``partitions`` as
texts, of those ``direct`` ("all", or texts; absent: none), the dirty ``columns`` by output dataset
(absent: all), ``row_filters`` if any, and ``via``. A hop of ``via`` names the ``dataset`` that was
dirty and ``from`` which job that came (absent: from the invalidations), its ``mapping`` (absent:
identity; "itself": the job's own output was wrong), dirty ``partitions`` (absent: as the step's)
and ``columns`` (absent: all), and in ``causes`` where in the document's list of lists its
invalidations' ids stand. What is absent keeps 50,000 steps within some megabytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from uuid import UUID

from engine.collector import paused_collector
from engine.lineage.columns import DirtyColumns
from engine.lineage.graph import Lineage
from engine.partitions import PartitionSet
from engine.planner.plan import Plan, Pruned, Step, Via

ITSELF = "itself"
CauseIndex = dict[tuple[UUID, ...], int]
"""Sets of invalidations by their place in the document's list of them."""


@paused_collector()
def document(plan: Plan, lineage: Lineage) -> dict[str, Any]:
    """The plan with names and texts for people."""
    causes: CauseIndex = {}
    return {
        "steps": [_step(step, lineage, causes) for step in plan.steps],
        "pruned": [_pruned(each, lineage) for each in plan.pruned],
        "stamps": {lineage.dataset(i).name: _texts(each) for i, each in plan.stamps.items()},
        "causes": [[str(each) for each in ids] for ids in causes],
    }


def _step(step: Step, lineage: Lineage, causes: CauseIndex) -> dict[str, Any]:
    return _present(
        job=str(step.job),
        name=lineage.job(step.job).name,
        partitions=_texts(step.partitions),
        direct="all" if step.direct == step.partitions else _texts(step.direct),
        columns=_columns_by_name(step.columns, lineage),
        row_filters=list(step.row_filters),
        via=[_hop(via, step.partitions, lineage, causes) for via in step.via],
    )


def _hop(
    via: Via, partitions: PartitionSet, lineage: Lineage, causes: CauseIndex
) -> dict[str, Any]:
    return _present(
        dataset=lineage.dataset(via.dataset).name,
        **{"from": via.from_job and str(via.from_job)},
        mapping=_mapping(via),
        partitions=_texts_unless(via.partitions, partitions),
        columns=_columns(via.columns),
        causes=causes.setdefault(via.invalidations, len(causes)),
    )


def _mapping(via: Via) -> Any:
    if via.mapping is None:
        return ITSELF
    return None if via.mapping.is_identity else via.mapping.to_spec()


def _pruned(pruned: Pruned, lineage: Lineage) -> dict[str, Any]:
    return _present(
        dataset=lineage.dataset(pruned.dataset).name,
        job=pruned.job and str(pruned.job),
        name=pruned.job and lineage.job(pruned.job).name,
        rule=pruned.rule,
        detail=pruned.detail,
    )


def _columns_by_name(
    columns: Mapping[UUID, DirtyColumns], lineage: Lineage
) -> dict[str, list[str]]:
    return {
        lineage.dataset(output).name: sorted(dirty)
        for output, dirty in columns.items()
        if dirty is not None
    }


def _columns(dirty: DirtyColumns) -> list[str] | None:
    return None if dirty is None else sorted(dirty)


def _texts_unless(dirty: PartitionSet, partitions: PartitionSet) -> list[str] | None:
    """Texts that are not those of the step; most sets on a path are one and the same object."""
    if dirty is partitions or _texts(dirty) == _texts(partitions):
        return None
    return _texts(dirty)


@lru_cache(maxsize=1024)  # neighbours on a path are mostly about the same partitions
def _texts(partitions: PartitionSet) -> list[str]:
    return partitions.space.texts(partitions)


def _present(**fields: Any) -> dict[str, Any]:
    """Without what is null or empty; a list of causes at 0 is neither."""
    return {name: value for name, value in fields.items() if value or value == 0}
