"""Rows of `partitions.sql`."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec


class PartitionKey(msgspec.Struct, frozen=True):
    """A partition of the dataset version in question."""

    key: str


class EarlierKeys(msgspec.Struct, frozen=True):
    """Partitions of earlier dataset versions with the same partitioning, as JSON text."""

    partitioning: str
    keys: list[str]


class VersionedKey(msgspec.Struct, frozen=True):
    """A partition of a dataset version."""

    version: UUID
    key: str


class ContentVersion(msgspec.Struct, frozen=True):
    """The content version of a partition."""

    dataset_uuid: UUID
    partition_key: str
    materialized_at: datetime


class LockedContent(msgspec.Struct, frozen=True):
    """The locked content of a partition, all null if it does not exist; ``n`` counts from 1."""

    n: int
    changed_at: datetime | None
    column_versions: dict[str, str] | None
    row_changes: list[Any]
    fingerprint: str | None
    column_fingerprints: dict[str, str] | None
    attributed: dict[str, str] | None
    row_count: int | None
    unverified_fingerprint: str | None
    now: datetime


class BuiltPartition(msgspec.Struct, frozen=True):
    """A partition; ``task_id`` is the task of its last run, null for a source."""

    materialized_at: datetime
    row_count: int | None
    task_id: UUID | None
    started_at: datetime | None
    completed_at: datetime | None

    @property
    def is_unchanged(self) -> bool:
        """True if the last run has produced the content of an earlier one."""
        return self.started_at is not None and self.started_at > self.materialized_at


class KeyFingerprint(msgspec.Struct, frozen=True):
    """The fingerprint of a partition; None: unknown."""

    key: str
    fingerprint: str | None
