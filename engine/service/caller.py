"""Callers of operations, and the rights that operations require."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import wraps
from typing import Concatenate, ParamSpec, Self, TypeVar
from uuid import UUID

import msgspec

from engine.errors import Forbidden
from engine.service.errors import database_errors

P = ParamSpec("P")
T = TypeVar("T")


class Role(StrEnum):
    """Role of a user in an org; each includes the rights of those before it."""

    READER = "reader"
    WRITER = "writer"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Return true if this role has all rights of the other."""
        order = list(Role)
        return order.index(self) >= order.index(other)


class Org(msgspec.Struct, frozen=True):
    """An org by its id, and by the slug that names its roles and consumers."""

    id: UUID
    slug: str

    @property
    def consumer_name(self) -> str:
        """Name of the org's consumers in Knockon, and of their group at the broker."""
        return f"knockon.{self.slug}"


class Caller(msgspec.Struct, frozen=True):
    """Org and user that an operation is carried out for.

    ``user`` is recorded with decisions; None if the name is unknown. An operator administers the
    installation: what affects other orgs or the servers themselves is outside the rights of an org.
    """

    org: Org
    user: str | None
    role: Role
    is_operator: bool = False

    @classmethod
    def local(cls, org: Org, user: str | None = None) -> Self:
        """Return the caller for the command line.

        The local user has all rights within the org and operates the installation, because reaching
        this point took the address and password of the database itself.
        """
        return cls(org, user, Role.ADMIN, is_operator=True)


Operation = Callable[Concatenate[Caller, P], Awaitable[T]]


def requires(role: Role, *, operator: bool = False) -> Callable[[Operation[P, T]], Operation[P, T]]:
    """Make an operation raise Forbidden, before it does anything, for a caller without the role.

    The operation raises ServiceUnavailable for errors of the database.
    """

    def decorate(operation: Operation[P, T]) -> Operation[P, T]:
        @wraps(operation)
        async def checked(caller: Caller, /, *args: P.args, **kwargs: P.kwargs) -> T:
            if not caller.role.includes(role):
                raise Forbidden(
                    f"{operation.__name__} requires the role {role} in org {caller.org.slug!r}, "
                    f"and yours is {caller.role}: have an admin of the org change it"
                )
            if operator and not caller.is_operator:
                raise Forbidden(f"{operation.__name__} is reserved for operators of Knockon")
            with database_errors():
                return await operation(caller, *args, **kwargs)

        checked.required_role = role  # type: ignore[attr-defined]
        checked.requires_operator = operator  # type: ignore[attr-defined]
        return checked

    return decorate
