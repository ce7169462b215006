"""Callers of operations, and the rights required by operations."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Self, TypeVar
from uuid import UUID

import msgspec

from engine.errors import Forbidden
from engine.model.states import Role
from engine.service.errors import database_errors

P = ParamSpec("P")
T = TypeVar("T")


class Org(msgspec.Struct, frozen=True):
    """An org, with the slug used in names of roles and consumers."""

    id: UUID
    slug: str

    @property
    def consumer_name(self) -> str:
        """Name of the org's consumers in Knockon, and of the consumer group at the broker."""
        return f"knockon.{self.slug}"


class Caller(msgspec.Struct, frozen=True):
    """Org and user of an operation.

    ``user`` is recorded with decisions; None if the name is unknown. Only operators, who administer
    the installation, may affect other orgs or the servers.
    """

    org: Org
    user: str | None
    role: Role
    is_operator: bool = False

    @classmethod
    def local(cls, org: Org, user: str | None = None) -> Self:
        """Return the caller for the command line.

        The local user has all rights within the org and operates the installation, because the
        command line requires the address and password of the database.
        """
        return cls(org, user, Role.ADMIN, is_operator=True)


Operation = Callable[Concatenate[Caller, P], Awaitable[T]]


def requires(role: Role, *, operator: bool = False) -> Callable[[Operation[P, T]], Operation[P, T]]:
    """Make an operation raise Forbidden, before any effect, for a caller without the role.

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
