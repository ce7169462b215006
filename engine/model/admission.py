"""Admission of people to an org through the identity provider, as its admins have configured it."""

from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec

from engine.model.states import Role

_Group = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Slug = Annotated[str, msgspec.Meta(min_length=1, max_length=63)]


class Admission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """People of the issuer who are admitted to an org.

    ``roles`` and ``org_roles`` list what each group grants: a role, and roles defined by the org.
    ``default_role`` is the role of people without such a group. With ``creates_users``, people
    with a role are added at their first login.
    """

    issuer: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    creates_users: bool = False
    default_role: Role | None = None
    roles: Annotated[Mapping[_Group, Role], msgspec.Meta(max_length=1_000)] = {}
    org_roles: Annotated[
        Mapping[_Group, Annotated[tuple[_Slug, ...], msgspec.Meta(max_length=100)]],
        msgspec.Meta(max_length=1_000),
    ] = {}

    def role_of(self, groups: Iterable[str]) -> Role | None:
        """Return the highest role granted to members of some groups."""
        granted = {self.roles[group] for group in groups if group in self.roles}
        highest = [role for role in Role if role in granted]
        return highest[-1] if highest else self.default_role

    def org_roles_of(self, groups: Iterable[str]) -> list[str]:
        """Return the slugs of the roles defined by the org that some groups grant."""
        return sorted({slug for group in groups for slug in self.org_roles.get(group, ())})
