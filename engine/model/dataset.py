"""A dataset in one of its generations, as lineage and workers see it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec


class Dataset(msgspec.Struct, frozen=True, gc=False):
    """A dataset and the version of it that is served.

    ``partitioning`` is the JSON text of its partition space, ``{}`` where it has none; equal
    spaces have equal text, so that they can be compiled once.
    """

    id: UUID
    version: UUID
    name: str
    partitioning: str = "{}"
    columns: tuple[str, ...] | None = None
    storage: Mapping[str, Any] = msgspec.field(default_factory=dict)
    location: str | None = None
