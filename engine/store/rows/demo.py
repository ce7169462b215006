"""Rows of `demo.sql`."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec


class DatasetInvalidation(msgspec.Struct, frozen=True):
    """An invalidation of a dataset by name."""

    id: UUID
    dataset: str


class PlanDocument(msgspec.Struct, frozen=True):
    """A plan with its document."""

    id: UUID
    document: dict[str, Any]


class JobPartitions(msgspec.Struct, frozen=True):
    """The numbers of a job's partitions planned, recomputed and changed, until ``ended``."""

    job: str
    ended: datetime
    planned: int
    ran: int
    changed: int


class OutputPartitions(msgspec.Struct, frozen=True):
    """The number of partitions built by jobs."""

    partitions: int


class LastDay(msgspec.Struct, frozen=True):
    """The last day with weather."""

    day: str
