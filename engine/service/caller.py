"""Callers of operations, and the rights required by operations."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar
from uuid import UUID

import msgspec

from engine.errors import Forbidden, KnockonError
from engine.model.presence import ALL_ORGS
from engine.model.states import KeyScope, Role
from engine.model.task_token import TaskToken
from engine.service.errors import database_errors
from engine.service.masking import has_text
from engine.service.remote import Remote

P = ParamSpec("P")
T = TypeVar("T")
ALL_SCOPES: Final = frozenset(KeyScope)
_READ: Final = frozenset({KeyScope.READ})


class Org(msgspec.Struct, frozen=True):
    """An org, with the slug used in names of roles and consumers."""

    id: UUID
    slug: str

    @property
    def is_all(self) -> bool:
        """True for the stand-in of all orgs, for processes that serve each."""
        return self.slug == ALL_ORGS

    @property
    def consumer_name(self) -> str:
        """Name of the org's consumers in Knockon, and of the consumer group at the broker."""
        return f"knockon.{self.slug}"


class Caller(msgspec.Struct, frozen=True):
    """Org and user of an operation.

    ``user`` is recorded with decisions; None if the name is unknown. Only operators, who administer
    the installation, may affect other orgs or the servers. ``scopes`` are those of the key of the
    request, all without a key. ``origin`` is the adapter of the request. ``task`` is set for the
    worker of a task, who may only report on it. ``org_roles`` are the slugs of the roles of the org
    that the user has. ``user_id`` is set for users who have authenticated, ``key_id``
    for those with a key, and ``session_id`` for those with a session in a browser.
    """

    org: Org
    user: str | None
    role: Role
    is_operator: bool = False
    scopes: frozenset[KeyScope] = ALL_SCOPES
    origin: str = "command line"
    task: TaskToken | None = None
    org_roles: frozenset[str] = frozenset()
    key_id: UUID | None = None
    user_id: UUID | None = None
    session_id: UUID | None = None

    @property
    def sees_everything(self) -> bool:
        """True if no dataset is hidden.

        An admin could join any role, and the worker of a task sees only its lease.
        """
        return self.is_operator or self.role is Role.ADMIN or self.task is not None

    @classmethod
    def local(cls, org: Org, user: str | None = None) -> Self:
        """Return the caller for the command line.

        The local user has all rights within the org and operates the installation, because the
        command line requires the address and password of the database.
        """
        return cls(org, user, Role.ADMIN, is_operator=True)

    @classmethod
    def worker(cls, task: TaskToken, origin: str) -> Self:
        """Return the caller for whom the token of a task acts."""
        org = Org(task.org_id, str(task.org_id))
        return cls(org, None, Role.WRITER, scopes=frozenset(), origin=origin, task=task)


Operation = Callable[Concatenate[Caller, P], Awaitable[T]]


def requires(
    role: Role,
    *,
    operator: bool = False,
    scope: KeyScope | None = None,
    task: bool = False,
    own: bool = False,
) -> Callable[[Operation[P, T]], Operation[P, T]]:
    """Make an operation raise Forbidden, before any effect, for a caller without the role.

    A key permits the operation with the scope ``api``, with ``scope``, or with ``read`` if a reader
    may run it. With ``task``, no key permits it, only the token of a task. With ``own``, it changes
    what belongs to the caller alone, which a reader may do, but not with ``read``. The operation
    raises ServiceUnavailable for errors of the database. With a `Remote` service it is sent there.
    """
    permitting = frozenset() if task else _permitting(role, scope) - (_READ if own else frozenset())

    def decorate(operation: Operation[P, T]) -> Operation[P, T]:
        @wraps(operation)
        async def checked(caller: Caller, /, *args: P.args, **kwargs: P.kwargs) -> T:
            if args and isinstance(args[0], Remote):
                sent: T = await args[0].send(checked, *args[1:], **kwargs)
                return sent
            require_rights(checked, caller)
            with database_errors():
                return await _masked(operation, caller, *args, **kwargs)

        checked.required_role = role  # type: ignore[attr-defined]
        checked.requires_operator = operator  # type: ignore[attr-defined]
        checked.scopes = permitting  # type: ignore[attr-defined]
        checked.requires_task = task  # type: ignore[attr-defined]
        return checked

    return decorate


def require_rights(operation: Any, caller: Caller) -> None:
    """Raise Forbidden if the caller may not run an operation."""
    name = operation.__name__
    if not caller.role.includes(operation.required_role):
        raise Forbidden(
            f"{name} requires the role {operation.required_role} in org {caller.org.slug!r}, "
            f"and yours is {caller.role}: have an admin of the org change it"
        )
    if operation.requires_task and caller.task is None:
        raise Forbidden(f"{name} requires the token of a claimed task")
    if not operation.requires_task and not caller.scopes & operation.scopes:
        raise Forbidden(
            f"{name} requires a key with the scope {' or '.join(sorted(operation.scopes))}, and "
            f"yours has {', '.join(sorted(caller.scopes)) or 'none'}: use another key"
        )
    if operation.requires_operator and not caller.is_operator:
        raise Forbidden(f"{name} is reserved for operators of Knockon")


async def _masked(
    operation: Operation[P, T], caller: Caller, /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run an operation; neither its result nor its error has names hidden from the caller.

    This covers texts in which names occur by chance, such as logs. Operations leave out rows.
    """
    if caller.sees_everything:
        return await operation(caller, *args, **kwargs)
    service: Any = args[0] if args else kwargs["service"]
    try:
        result = await operation(caller, *args, **kwargs)
    except KnockonError as error:
        # An error repeats the names of the request, whether they are unknown or hidden.
        mask = (await service.mask(caller)).keeping(repr((args[1:], kwargs)))
        error.args = mask.value(error.args)
        raise
    # A load of the mask costs as much as a short operation.
    return (await service.mask(caller)).value(result) if has_text(result) else result


def _permitting(role: Role, scope: KeyScope | None) -> frozenset[KeyScope]:
    scopes = {KeyScope.API, KeyScope.READ} if role is Role.READER else {KeyScope.API}
    return frozenset(scopes | ({scope} if scope else set()))
