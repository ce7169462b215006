"""Rows of `orgs.sql`."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec


class OrgRow(msgspec.Struct, frozen=True):
    """An org."""

    id: UUID
    slug: str
    name: str
    settings: dict[str, Any]


class ListedOrg(msgspec.Struct, frozen=True):
    """The id and the slug of an org."""

    id: UUID
    slug: str


class LineageEpoch(msgspec.Struct, frozen=True):
    """The epoch of an org's lineage."""

    lineage_epoch: int


class StoredSettings(msgspec.Struct, frozen=True):
    """The settings of an org."""

    settings: dict[str, Any]


class TaskCount(msgspec.Struct, frozen=True):
    """A number of tasks."""

    tasks: int


class StoredLogs(msgspec.Struct, frozen=True):
    """The size of logs in the history."""

    bytes: int


class ClaimLock(msgspec.Struct, frozen=True):
    """Whether the claims of an org are locked for this transaction."""

    is_held: bool


class FullMonth(msgspec.Struct, frozen=True):
    """The oldest month of logs, if the logs of an org exceed a size, with the excess in bytes."""

    month: datetime
    excess: int
