"""Rows of `orgs.sql`."""

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
