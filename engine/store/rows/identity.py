"""Rows of `users.sql`, `org_roles.sql`, `api_keys.sql`, `sessions.sql` and `access_changes.sql`."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from engine.model.states import GrantSource, KeyScope, Role


class NamedUser(msgspec.Struct, frozen=True):
    """A user of an org; ``external_id`` is unique across all orgs."""

    id: UUID
    external_id: str
    email: str
    role: Role


class User(NamedUser, frozen=True):
    """A user of an org, with the roles that the org has defined.

    ``suspended_at`` is the time since when no group of the person grants a role.
    """

    created_at: datetime
    source: GrantSource
    suspended_at: datetime | None
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


class KnownPerson(msgspec.Struct, frozen=True):
    """An org with its terms of admission, and the user that a person is in it, if any.

    ``groups_at`` is the time of issue of the token whose groups were applied last.
    """

    org_id: UUID
    org: str
    admission: Any
    user_id: UUID | None
    email: str | None
    role: Role | None
    source: GrantSource | None
    groups_at: float | None
    is_suspended: bool
    is_removed: bool
    org_roles: list[str]


class UserId(msgspec.Struct, frozen=True):
    """The id of a user."""

    id: UUID


class RoleSlug(msgspec.Struct, frozen=True):
    """The slug of a role defined by an org."""

    slug: str


class ValidSession(msgspec.Struct, frozen=True):
    """A session that has not ended, with its user, the org, and the user's roles, by slug."""

    id: UUID
    org_id: UUID
    org: str
    user_id: UUID
    email: str
    role: Role
    is_use_unrecorded: bool
    org_roles: list[str]


class SessionRow(msgspec.Struct, frozen=True):
    """A session in a browser; ``ends_at`` moves with each use, up to a limit."""

    id: UUID
    created_at: datetime
    last_used_at: datetime
    ends_at: datetime


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
