"""Rows of `undeploys.sql`."""

from typing import Any
from uuid import UUID

import msgspec


class UndeployEffects(msgspec.Struct, frozen=True):
    """The number of a DAG version, and the open work that its undeploy ends."""

    number: int
    tasks: int
    invalidations: int


class ReopenedInvalidation(msgspec.Struct, frozen=True):
    """An invalidation that was closed while its DAG was undeployed."""

    id: UUID
    reason: str


class UndeployedVersion(msgspec.Struct, frozen=True):
    """The version of a DAG at its undeploy; ``is_kept``: a deploy can continue from it."""

    id: UUID
    content: Any
    is_kept: bool
