"""Rows of `invalidations.sql`."""

from typing import Any
from uuid import UUID

import msgspec

from engine.model.invalidation import InvalidationReason


class InvalidationId(msgspec.Struct, frozen=True):
    """An invalidation."""

    id: UUID


class LockedInvalidation(msgspec.Struct, frozen=True):
    """A locked invalidation, with all that is needed to plan it."""

    id: UUID
    dataset_uuid: UUID
    dataset_version: UUID
    partition_key: str | None
    row_filter: dict[str, Any] | None
    reason: InvalidationReason
    columns: list[str] | None
    processed_by: list[UUID]
    fingerprint: str | None


class InheritableInvalidation(msgspec.Struct, frozen=True):
    """An invalidation of an earlier version of a dataset."""

    id: UUID
    partition_key: str | None


class EarlierColumns(msgspec.Struct, frozen=True):
    """Columns of all versions of a dataset, current and earlier."""

    dataset_uuid: UUID
    columns: list[str]


class CoveringInvalidation(msgspec.Struct, frozen=True):
    """An open invalidation of a dataset's own partitions; see ``OpenScope``."""

    id: UUID
    partition_key: str | None
    planning_error: str | None


class WaitingInvalidations(msgspec.Struct, frozen=True):
    """Whether any invalidation waits for an earlier partition."""

    waiting: bool


class UsedKey(msgspec.Struct, frozen=True):
    """An idempotency key, with the invalidations of the request that used it."""

    key: str
    invalidations: list[UUID]


class IdempotencyKey(msgspec.Struct, frozen=True):
    """A key that was used before."""

    key: str
