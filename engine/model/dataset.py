"""A dataset in one of its versions, as used by lineage and workers."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec


class Dataset(msgspec.Struct, frozen=True, gc=False):
    """A dataset with its current version.

    ``partitioning`` is the JSON text of the partition space, ``{}`` for an unpartitioned dataset;
    equal spaces have equal text, so that they are compiled once.
    """

    id: UUID
    version: UUID
    name: str
    partitioning: str = "{}"
    columns: tuple[str, ...] | None = None
    storage: Mapping[str, Any] = msgspec.field(default_factory=dict)
    location: str | None = None


@lru_cache(maxsize=4096)
def grid_of(partitioning: str) -> str:
    """Return the grid of a partitioning: JSON text without bounds and key lists."""
    dimensions = {
        name: {
            field: True if field == "static" else value
            for field, value in dimension.items()
            if field not in ("start", "end")
        }
        for name, dimension in msgspec.json.decode(partitioning).items()
    }
    return msgspec.json.encode(dimensions).decode()
