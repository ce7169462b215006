"""A plan as JSON: what is kept with the tasks, shown for approval, and asked for reasons later.

``{steps, hops, pruned, stamps, causes}``. A step has its ``job`` id and ``name``, its
``partitions`` as texts, of those ``direct`` ("all", or texts; absent: none), the dirty ``columns``
by output dataset (absent: all), ``row_filters`` if any, and in ``via`` where in ``hops`` the ways
to it stand. A hop names the ``dataset`` that was dirty and ``from`` which job that came (absent:
from the invalidations), its ``mapping`` (absent: identity; "itself": the job's own output was
wrong), dirty ``partitions`` (absent: as the step's) and ``columns`` (absent: all), and in
``causes`` where in the document's list of lists its invalidations' ids stand. What is absent, and
hops that many steps have in common, keep 50,000 steps within some megabytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from engine.gc_pause import gc_paused
from engine.lineage.columns import DirtyColumns
from engine.lineage.graph import Lineage
from engine.partitions import PartitionSet
from engine.planner.causes import Causes
from engine.planner.plan import Hit, Plan, Pruned, Step

ITSELF = "itself"


@gc_paused()
def document(plan: Plan, lineage: Lineage) -> dict[str, Any]:
    """The plan with names and texts for people."""
    return _Writer(plan, lineage).document()


class _Writer:
    """Writes a plan; what many steps have in common is written once, and its text shared."""

    def __init__(self, plan: Plan, lineage: Lineage) -> None:
        self._plan = plan
        self._lineage = lineage
        self._texts_of: dict[int, list[str]] = {}
        self._ids: dict[int, str] = {}
        self._hops: list[dict[str, Any]] = []
        self._places: dict[tuple[int, int, int], int] = {}
        self._causes: dict[Causes, int] = {}

    def document(self) -> dict[str, Any]:
        plan, name = self._plan, self._name
        return {
            "steps": [self._step(step) for step in plan.steps],
            "hops": self._hops,
            "pruned": [self._pruned(each) for each in plan.pruned],
            "stamps": {name(i): each.space.texts(each) for i, each in plan.stamps.items()},
            "causes": [[str(each) for each in plan.caused_by(causes)] for causes in self._causes],
        }

    def _step(self, step: Step) -> dict[str, Any]:
        job = self._lineage.job(step.job)
        written: dict[str, Any] = {"job": self._id(step.job), "name": job.name}
        if step.partitions:
            written["partitions"] = self._texts(step.partitions)
        if step.direct:
            is_all = step.direct == step.partitions
            written["direct"] = "all" if is_all else self._texts(step.direct)
        if columns := self._columns_by_name(step.dirty_columns(job.outputs)):
            written["columns"] = columns
        if step.row_filters:
            written["row_filters"] = list(step.row_filters)
        written["via"] = [self._via(hit, step.partitions) for hit in step.via]
        return written

    def _via(self, hit: Hit, partitions: PartitionSet) -> int:
        """The place of a hop; it is the same to all who make of a dataset just its partitions."""
        if hit.dirty.partitions is not partitions:
            return self._add(self._hop(hit, partitions))
        alike = id(hit.dataset), id(hit.dirty), id(hit.mapping)
        if alike not in self._places:
            self._places[alike] = self._add(self._hop(hit, partitions))
        return self._places[alike]

    def _add(self, hop: dict[str, Any]) -> int:
        self._hops.append(hop)
        return len(self._hops) - 1

    def _hop(self, hit: Hit, partitions: PartitionSet) -> dict[str, Any]:
        dirty = hit.dirty
        hop: dict[str, Any] = {"dataset": self._name(hit.dataset)}
        if hit.from_job:
            hop["from"] = self._id(hit.from_job)
        if hit.mapping is None:
            hop["mapping"] = ITSELF
        elif not hit.mapping.is_identity:
            hop["mapping"] = hit.mapping.to_spec()
        if self._texts(dirty.partitions) != self._texts(partitions):
            hop["partitions"] = self._texts(dirty.partitions)
        if dirty.columns:
            hop["columns"] = sorted(dirty.columns)
        hop["causes"] = self._causes.setdefault(dirty.causes, len(self._causes))
        return hop

    def _pruned(self, pruned: Pruned) -> dict[str, Any]:
        written = {"dataset": self._name(pruned.dataset)}
        if pruned.job:
            written["job"] = self._id(pruned.job)
            written["name"] = self._lineage.job(pruned.job).name
        return written | {"rule": pruned.rule, "detail": pruned.detail}

    def _columns_by_name(self, columns: Mapping[UUID, DirtyColumns]) -> dict[str, list[str]]:
        return {
            self._name(output): sorted(dirty)
            for output, dirty in columns.items()
            if dirty is not None
        }

    def _name(self, dataset: UUID) -> str:
        return self._lineage.dataset(dataset).name

    def _id(self, job: UUID) -> str:
        text = self._ids.get(job.int)  # which hashes in C
        if text is None:
            text = self._ids[job.int] = str(job)
        return text

    def _texts(self, partitions: PartitionSet) -> list[str]:
        """The texts of a set of the plan, where most are one and the same object."""
        texts = self._texts_of.get(id(partitions))
        if texts is None:
            texts = self._texts_of[id(partitions)] = partitions.space.texts(partitions)
        return texts


def hops_of(document: Mapping[str, Any], step: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The hops of one of a document's steps."""
    return [document["hops"][place] for place in step["via"]]
