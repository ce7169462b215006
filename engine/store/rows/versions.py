"""Rows of `versions.sql`."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from engine.model.states import DeployKind


class DeployRow(msgspec.Struct, frozen=True):
    """A deploy or undeploy of a DAG; ``number`` is that of the version among those of the DAG.

    ``id`` is the number of the deploy among those of the org.
    """

    id: int
    dag: str
    kind: DeployKind
    number: int
    version_id: UUID
    previous_version_id: UUID | None
    deployed_at: datetime
    deployed_by: str | None
    is_current: bool


class VersionContent(msgspec.Struct, frozen=True):
    """The compiled content of a DAG version, and its dataset versions by name of the dataset."""

    id: UUID
    content: Any
    datasets: dict[str, UUID]


class StoredFile(msgspec.Struct, frozen=True):
    """A DAG version with its text as written, if stored."""

    id: UUID
    content: Any
    file: str | None


class VersionNumber(msgspec.Struct, frozen=True):
    """The newest version of a DAG."""

    number: int | None
