"""Rows of `row_changes.sql`."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec


class StoredContent(msgspec.Struct, frozen=True):
    """The content versions and row changes of a partition, locked."""

    key: str
    content: dict[str, Any]


class OutdatedRun(msgspec.Struct, frozen=True):
    """The run behind an output partition; ``recorded`` is the older version that it has read."""

    key: str
    task_id: UUID
    recorded: datetime
