"""Rows of `undeploys.sql`."""

from typing import Any
from uuid import UUID

import msgspec


class UndeployEffects(msgspec.Struct, frozen=True):
    """The number of a DAG version, and the open work that its undeploy ends."""

    number: int
    tasks: int
    invalidations: int


class UndeployedVersion(msgspec.Struct, frozen=True):
    """The version of a DAG at its undeploy."""

    id: UUID
    content: Any
