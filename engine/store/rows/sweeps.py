"""Rows of `sweeps.sql`."""

from uuid import UUID

import msgspec


class OldDagVersion(msgspec.Struct, frozen=True):
    """A DAG version to be removed."""

    id: UUID
    dag: str
    number: int


class OldDatasetVersion(msgspec.Struct, frozen=True):
    """A dataset version to be removed."""

    dataset: UUID
    version: UUID


class BuiltPartition(msgspec.Struct, frozen=True):
    """A partition of an old dataset version; ``task_id`` is None for a source."""

    key: str
    task_id: UUID | None


class SweptSizes(msgspec.Struct, frozen=True):
    """Rows of old dataset versions, with their estimated size."""

    partitions: int
    inputs: int
    bytes: int
