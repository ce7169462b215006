"""Represent a plan as JSON, for storage with the tasks, approval, and later explanation.

The format is ``{steps, hops, pruned, changed_partitions, invalidation_sets}``. A step has the
``job`` id and ``name``, the ``partitions`` as texts (none: a single-run job has yet to find its
first), with the hash of the ``bounds`` if the texts omit a bounded dimension, since these then mean
all of its keys, the ``directly_invalidated`` partitions ("all", or texts; absent: none), the dirty
``columns`` by output dataset (absent: all), ``row_filters`` if any, and in ``via`` indexes into
``hops``. A hop has the dirty ``dataset``, in ``from`` the job that made the dataset dirty (absent:
the invalidations), the ``mapping`` (absent: identity; "itself": the job's own output was wrong),
dirty ``partitions`` (absent: as the step's) and ``columns`` (absent: all), and in
``invalidation_set`` an index into ``invalidation_sets``, lists of invalidation ids. Absent fields,
and hops shared by many steps, keep 50,000 steps within some megabytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID
from zlib import crc32

import msgspec

from engine.garbage_collection import gc_paused
from engine.lineage.columns import ALL_COLUMNS, DirtyColumns
from engine.lineage.graph import Lineage
from engine.partitions import PartitionSet
from engine.planner.plan import Plan, Pruned, Step, Trigger
from engine.planner.provenance import InvalidationSet

ITSELF = "itself"


@gc_paused()
def document(plan: Plan, lineage: Lineage) -> dict[str, Any]:
    """Return the plan with names and texts for people."""
    return _Writer(plan, lineage).document()


class _Writer:
    """Writer of a plan; parts common to many steps are written once, and their texts shared."""

    def __init__(self, plan: Plan, lineage: Lineage) -> None:
        self._plan = plan
        self._lineage = lineage
        self._texts_of: dict[int, list[str]] = {}
        self._bounds_of: dict[int, str] = {}
        self._ids: dict[int, str] = {}
        self._hops: list[dict[str, Any]] = []
        self._places: dict[tuple[int, int, int], int] = {}
        self._sets: dict[InvalidationSet, int] = {}

    def document(self) -> dict[str, Any]:
        plan, name = self._plan, self._name
        return {
            "steps": [self._step(step) for step in plan.steps],
            "hops": self._hops,
            "pruned": [self._pruned(each) for each in plan.pruned],
            "changed_partitions": {
                name(i): each.space.texts(each) for i, each in plan.changed_partitions.items()
            },
            "invalidation_sets": [
                [str(each) for each in plan.invalidation_ids(members)] for members in self._sets
            ],
        }

    def _step(self, step: Step) -> dict[str, Any]:
        job = self._lineage.job(step.job)
        written: dict[str, Any] = {
            "job": self._id(step.job),
            "name": job.name,
            "partitions": self._texts(step.partitions),
        }
        if bounds := self._bounds(step.partitions):
            written["bounds"] = bounds
        if step.directly_invalidated:
            direct = step.directly_invalidated
            is_all = direct == step.partitions
            written["directly_invalidated"] = "all" if is_all else self._texts(direct)
        if columns := self._columns_by_name(step.dirty_columns(job.outputs)):
            written["columns"] = columns
        if step.row_filters:
            written["row_filters"] = list(step.row_filters)
        written["via"] = [self._via(trigger, step.partitions) for trigger in step.triggers]
        return written

    def _via(self, trigger: Trigger, partitions: PartitionSet) -> int:
        """Return the index of a hop, shared by all steps with exactly the dirty partitions."""
        if trigger.dirty.partitions is not partitions:
            return self._add(self._hop(trigger, partitions))
        alike = id(trigger.dataset), id(trigger.dirty), id(trigger.mapping)
        if alike not in self._places:
            self._places[alike] = self._add(self._hop(trigger, partitions))
        return self._places[alike]

    def _add(self, hop: dict[str, Any]) -> int:
        self._hops.append(hop)
        return len(self._hops) - 1

    def _hop(self, trigger: Trigger, partitions: PartitionSet) -> dict[str, Any]:
        dirty = trigger.dirty
        hop: dict[str, Any] = {"dataset": self._name(trigger.dataset)}
        if trigger.from_job:
            hop["from"] = self._id(trigger.from_job)
        if trigger.mapping is None:
            hop["mapping"] = ITSELF
        elif not trigger.mapping.is_identity:
            hop["mapping"] = trigger.mapping.to_spec()
        if self._texts(dirty.partitions) != self._texts(partitions):
            hop["partitions"] = self._texts(dirty.partitions)
        if dirty.columns is not ALL_COLUMNS:
            hop["columns"] = sorted(dirty.columns)
        hop["invalidation_set"] = self._sets.setdefault(dirty.invalidations, len(self._sets))
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
            if dirty is not ALL_COLUMNS
        }

    def _name(self, dataset: UUID) -> str:
        return self._lineage.dataset(dataset).name

    def _id(self, job: UUID) -> str:
        text = self._ids.get(job.int)  # an int hashes in C, unlike a UUID
        if text is None:
            text = self._ids[job.int] = str(job)
        return text

    def _texts(self, partitions: PartitionSet) -> list[str]:
        """Return the texts of a set of the plan, cached because most sets are the same object."""
        texts = self._texts_of.get(id(partitions))
        if texts is None:
            texts = self._texts_of[id(partitions)] = partitions.space.texts(partitions)
        return texts

    def _bounds(self, partitions: PartitionSet) -> str:
        """Return the hash of the bounds that the texts of a set depend on, empty if on none."""
        bounds = self._bounds_of.get(id(partitions))
        if bounds is None:
            universe = partitions.space.universe.boxes[0]
            is_whole = any(
                part == every and every.is_finite
                for box in partitions.boxes
                for part, every in zip(box, universe, strict=True)
            )
            spec = msgspec.json.encode(partitions.space.to_spec()) if is_whole else b""
            bounds = self._bounds_of[id(partitions)] = f"{crc32(spec):08x}" if is_whole else ""
        return bounds


def partitions_of(step: Mapping[str, Any]) -> Sequence[str]:
    """Return the partitions of a step of a document; earlier releases left out an empty list."""
    partitions: Sequence[str] = step.get("partitions", ())
    return partitions


def hops_of(document: Mapping[str, Any], step: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the hops of a step of the document."""
    return [document["hops"][place] for place in step["via"]]
