"""A dataset in one of its versions, as used by lineage and workers."""

from collections.abc import Mapping
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
