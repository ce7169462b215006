"""Rows of `tables.sql`."""

from uuid import UUID

import msgspec


class DescribedTable(msgspec.Struct, frozen=True):
    """A table or view by its qualified ``name``, with its columns in order."""

    name: str
    schema: str
    table: str
    comment: str | None
    kind: str
    has_relatives: bool
    rule: str | None
    columns: list[str]
    types: list[str]


class ReachedTable(msgspec.Struct, frozen=True):
    """A relation changed by a write to ``name``, through the foreign key ``via`` if that is set."""

    name: str
    schema: str
    table: str
    is_visible: bool
    via: str | None
    captured: list[str]


class WrittenTable(msgspec.Struct, frozen=True):
    """A table written by the transaction; ``defers`` if a trigger may not have run yet."""

    schema: str
    table: str
    is_visible: bool
    defers: bool
    captured: list[str]


class LockedRelation(msgspec.Struct, frozen=True):
    """A relation locked by the transaction; ``row_versions`` identify its rows in the catalog."""

    oid: int
    row_versions: str | None


class UniqueIndex(msgspec.Struct, frozen=True):
    """Unique indexes on a list of columns; ``merges_nulls``: one of them treats nulls as equal."""

    merges_nulls: bool


class TableClaim(msgspec.Struct, frozen=True):
    """A dataset that may be stored in, or captured from, a table as spelled in its DAG file."""

    org_id: UUID
    name: str
    dag_name: str
    is_source: bool
    spelling: str
    folds: bool


class CapturedTable(msgspec.Struct, frozen=True):
    """A dataset to which the capture triggers of a table log."""

    org_id: UUID
    name: str
    dag_name: str
    is_source: bool
    schema: str
    table: str


class EntitledClaim(msgspec.Struct, frozen=True):
    """The number of a claim that counts."""

    number: int
