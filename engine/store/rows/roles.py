"""Rows of `roles.sql`."""

from uuid import UUID

import msgspec


class DatabaseNames(msgspec.Struct, frozen=True):
    """The name that distinguishes the database's roles, its current name, and the user."""

    name: str
    current: str
    member: str


class ExistingRole(msgspec.Struct, frozen=True):
    """A role; ``is_plain`` if it is as Knockon would create it."""

    name: str
    is_plain: bool


class Relation(msgspec.Struct, frozen=True):
    """A relation in Knockon's schema."""

    name: str


class UnprotectedTable(msgspec.Struct, frozen=True):
    """A table without the policies for its rows; ``column`` has the org of a row."""

    name: str
    is_month: bool
    column: str


class ForeignPolicy(msgspec.Struct, frozen=True):
    """A policy that is not Knockon's."""

    table: str
    name: str


class UngrantedRelation(msgspec.Struct, frozen=True):
    """A relation, and whether the privileges of the service and the engine are not as needed.

    ``statement`` grants those of the service.
    """

    name: str
    statement: str
    lacks_service: bool
    lacks_engine: bool


class Membership(msgspec.Struct, frozen=True):
    """A role that the session's user is a member of."""

    role: str


class RowSecurity(msgspec.Struct, frozen=True):
    """Whether policies restrict the role of the session."""

    is_active: bool


class Function(msgspec.Struct, frozen=True):
    """A function in Knockon's schema, with its quoted signature."""

    signature: str


class OrgRole(msgspec.Struct, frozen=True):
    """An org and the role of its SQL jobs, if any."""

    id: UUID
    slug: str
    role: str | None


class MarkedTable(msgspec.Struct, frozen=True):
    """A table created by Knockon."""

    schema: str
    name: str


class OrgRights(msgspec.Struct, frozen=True):
    """An org; ``is_given_named_tables`` is null without the setting."""

    slug: str
    is_given_named_tables: bool | None


class LackingRight(msgspec.Struct, frozen=True):
    """A right that a role lacks to a table or schema, by quoted name."""

    name: str
    access: str


class RemainingRight(msgspec.Struct, frozen=True):
    """The reason for a privilege that no REVOKE ends."""

    reason: str


class DeployedJobs(msgspec.Struct, frozen=True):
    """A number of deployed jobs."""

    jobs: int
