"""Rows of `cursors.sql`."""

from uuid import UUID

import msgspec


class StoredCursor(msgspec.Struct, frozen=True):
    """The cursor of an input."""

    cursor_value: str


class JobCursor(msgspec.Struct, frozen=True):
    """The cursor of an input of a job."""

    job_id: UUID
    dataset_uuid: UUID
    dataset_version: UUID
    cursor_value: str
