"""Rows of `users.sql`, `org_roles.sql`, `api_keys.sql` and `access_changes.sql`."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from engine.model.states import KeyScope, Role


class NamedUser(msgspec.Struct, frozen=True):
    """A user of an org; ``external_id`` is unique across all orgs."""

    id: UUID
    external_id: str
    email: str
    role: Role


class User(NamedUser, frozen=True):
    """A user of an org, with the roles that the org has defined."""

    created_at: datetime
    org_roles: list[str]


class NamedOrgRole(msgspec.Struct, frozen=True):
    """A role defined by an org."""

    id: UUID
    slug: str
    name: str


class OrgRole(NamedOrgRole, frozen=True):
    """A role defined by an org, with the e-mail addresses of its members."""

    created_at: datetime
    members: list[str]


class DatasetName(msgspec.Struct, frozen=True):
    """The name of a dataset."""

    name: str


class KeyRow(msgspec.Struct, frozen=True):
    """A key without its secret; ``is_valid`` unless it has expired or was revoked."""

    prefix: str
    name: str
    user: str
    scopes: list[KeyScope]
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    is_valid: bool


class KeyName(msgspec.Struct, frozen=True):
    """The name of a key."""

    name: str


class ValidKey(msgspec.Struct, frozen=True):
    """A valid key with its user, its org by slug, and the roles of the user by slug."""

    id: UUID
    hash: bytes
    scopes: list[KeyScope]
    org_id: UUID
    org: str
    user_id: UUID
    email: str
    role: Role
    is_use_unrecorded: bool
    org_roles: list[str]


class AccessChange(msgspec.Struct, frozen=True):
    """A change of users, roles, keys or settings.

    ``before`` is null for something added, ``after`` for something removed.
    """

    id: UUID
    changed_at: datetime
    actor: str | None
    origin: str
    change: str
    subject: str
    before: Any
    after: Any
