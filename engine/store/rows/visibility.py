"""Rows of `visibility.sql`."""

from uuid import UUID

import msgspec


class HiddenDataset(msgspec.Struct, frozen=True):
    """A hidden dataset with its producer, and the table in its storage, if named."""

    id: UUID
    name: str
    dag: str
    job: str
    location: str | None
    is_dag_hidden: bool


class HiddenJob(msgspec.Struct, frozen=True):
    """A job that writes a hidden dataset; ``location`` is the topic, endpoint or table it reads."""

    id: UUID
    dag: str
    name: str
    location: str | None


class PlanSubjects(msgspec.Struct, frozen=True):
    """The datasets, jobs and DAGs that a plan concerns; ``dataset`` is that of a proposal."""

    id: UUID
    datasets: list[UUID]
    jobs: list[UUID]
    job_names: list[str]
    dataset: str | None
    dags: list[str]
