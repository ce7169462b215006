"""Visibility: the only definition of the datasets, jobs and DAGs that a caller sees.

A dataset with `read_roles` is hidden from callers with none of them. So are the datasets written by
the same job, the job itself with its tasks, and a DAG in which everything is hidden. Operations
leave out what is hidden; texts that still name it are masked in every result and error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeVar
from uuid import UUID

from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.job import Job
from engine.model.states import PauseKind
from engine.service.masking import Mask
from engine.store.database import Connection
from engine.store.rows.pauses import Pause
from engine.store.rows.visibility import HiddenDataset, HiddenJob, PlanSubjects
from engine.store.run import fetch

T = TypeVar("T")


@dataclass(frozen=True)
class Visibility:
    """Everything in an org that is hidden from a caller; for most callers, nothing."""

    lineage: Lineage | None = None
    datasets: Sequence[HiddenDataset] = ()
    jobs: Sequence[HiddenJob] = ()

    @cached_property
    def dataset_ids(self) -> frozenset[UUID]:
        """The ids of hidden datasets."""
        return frozenset(row.id for row in self.datasets)

    @cached_property
    def dataset_names(self) -> frozenset[str]:
        """The names of hidden datasets."""
        return frozenset(row.name for row in self.datasets)

    @cached_property
    def job_ids(self) -> frozenset[UUID]:
        """The ids of hidden jobs, in all versions of their DAGs."""
        return frozenset(row.id for row in self.jobs)

    @cached_property
    def job_names(self) -> frozenset[str]:
        """The full names of hidden jobs."""
        rows = (*((row.dag, row.job) for row in self.datasets), *_names(self.jobs))
        return frozenset(f"{dag}.{name}" for dag, name in rows)

    @cached_property
    def dags(self) -> frozenset[str]:
        """The DAGs in which everything is hidden."""
        return frozenset(row.dag for row in self.datasets if row.is_dag_hidden)

    @cached_property
    def partly_hidden_dags(self) -> frozenset[str]:
        """The DAGs in which anything is hidden."""
        return frozenset(row.dag for row in self.datasets)

    @cached_property
    def mask(self) -> Mask:
        """The mask of the hidden names, unless something visible has the same name."""
        jobs = {row.job for row in self.datasets} | {row.name for row in self.jobs}
        tables = {row.location for row in self.datasets if row.location}
        sources = {row.location for row in self.jobs if row.location}
        visible = {job.name for job in self.visible_jobs(self.lineage)} if self.lineage else set()
        subjects = self.dataset_names | (jobs - visible)
        return Mask(subjects, subjects | self.job_names | tables | sources | self.dags)

    @property
    def is_full(self) -> bool:
        """True if nothing is hidden."""
        return not self.datasets

    @property
    def hidden_jobs(self) -> list[str] | None:
        """Full names of hidden jobs as a parameter of statements; None if nothing is hidden."""
        return sorted(self.job_names) or None

    @property
    def hidden_datasets(self) -> list[UUID] | None:
        """Ids of hidden datasets as a parameter of statements; None if nothing is hidden."""
        return sorted(self.dataset_ids) or None

    def sees(self, dataset: UUID) -> bool:
        """Return True if a dataset is visible."""
        return dataset not in self.dataset_ids

    def sees_job(self, job: Job) -> bool:
        """Return True if a job is visible."""
        return job.id not in self.job_ids and job.full_name not in self.job_names

    def sees_work_of(self, job: Job) -> bool:
        """Return True if a job and all of its inputs are visible."""
        inputs = (read.dataset for read in job.inputs)
        return self.sees_job(job) and self.dataset_ids.isdisjoint(inputs)

    def visible_jobs(self, lineage: Lineage) -> list[Job]:
        """Return the visible jobs, upstream first."""
        return [job for job in lineage.order if self.sees_job(job)]

    def visible_datasets(self, datasets: Iterable[Dataset]) -> list[Dataset]:
        """Return the visible ones of datasets."""
        return [dataset for dataset in datasets if self.sees(dataset.id)]

    def sees_pause(self, pause: Pause) -> bool:
        """Return True if the subject of a pause is visible."""
        hidden = {PauseKind.JOB: self.job_names | self.mask.subjects}
        return pause.name not in hidden.get(pause.kind, self.dataset_names)

    def sees_plan(self, plan: PlanSubjects) -> bool:
        """Return True if anything that a plan concerns is visible, or if nothing is hidden."""
        return self.is_full or any(is_visible for is_visible in self._parts_of(plan))

    def sees_all_of_plan(self, plan: PlanSubjects) -> bool:
        """Return True if everything that a plan concerns is visible."""
        return all(self._parts_of(plan)) and self.partly_hidden_dags.isdisjoint(plan.dags)

    def _parts_of(self, plan: PlanSubjects) -> Iterable[bool]:
        names = self.mask.subjects
        yield from (self.sees(id_) for id_ in plan.datasets)
        yield from (dag not in self.dags for dag in plan.dags)
        for id_, name in zip(plan.jobs, plan.job_names, strict=True):
            yield id_ not in self.job_ids and name not in names
        if plan.dataset is not None:
            yield plan.dataset not in self.dataset_names


EVERYTHING: Final = Visibility()
"""Visibility of callers from whom nothing is hidden."""


def _names(jobs: Iterable[HiddenJob]) -> Iterable[tuple[str, str]]:
    return ((row.dag, row.name) for row in jobs)


async def load_visibility(
    conn: Connection, org: OrgContext, lineage: Lineage, roles: frozenset[str]
) -> Visibility:
    """Load what is hidden from members of some roles: one statement if nothing is."""
    hidden = await fetch(
        conn, "visibility.hidden_datasets", HiddenDataset, org_id=org.id, roles=sorted(roles)
    )
    if not hidden:
        return EVERYTHING
    names = [row.name for row in hidden]
    jobs = await fetch(conn, "visibility.jobs_of_datasets", HiddenJob, org_id=org.id, names=names)
    return Visibility(lineage, hidden, jobs)


async def load_plan_subjects(
    conn: Connection, org: OrgContext, ids: Sequence[UUID]
) -> dict[UUID, PlanSubjects]:
    """Load the subjects of plans by id."""
    rows = await fetch(conn, "visibility.plans", PlanSubjects, org_id=org.id, ids=list(ids))
    return {row.id: row for row in rows}


async def visible_plans(
    conn: Connection,
    org: OrgContext,
    visible: Visibility,
    rows: Sequence[T],
    id_of: Callable[[T], UUID],
) -> list[T]:
    """Return those of some rows about plans whose plans are visible."""
    if visible.is_full or not rows:
        return list(rows)
    subjects = await load_plan_subjects(conn, org, [id_of(row) for row in rows])
    return [
        row for row in rows if id_of(row) in subjects and visible.sees_plan(subjects[id_of(row)])
    ]
