"""A dataset in one of its generations, as lineage and workers see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset and the version of it that is served.

    ``partitioning`` is the JSON text of its partition space, ``{}`` where it has none; equal
    spaces have equal text, so that they can be compiled once.
    """

    id: UUID
    version: UUID
    name: str
    partitioning: str = "{}"
    columns: tuple[str, ...] | None = None
    storage: Mapping[str, Any] = field(default_factory=dict)
    location: str | None = None
