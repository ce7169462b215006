"""Every operation first checks the role of the caller, and returns a JSON-ready value."""

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, get_type_hints
from uuid import UUID

import msgspec
import pytest

from engine.errors import Forbidden
from engine.model.states import KeyScope, Role
from engine.service import commands, queries
from engine.service.caller import Caller, Org
from engine.service.commands import sessions
from engine.service.queries import identity, usage, webhooks

ORG = Org(UUID(int=1), "default")
ADMIN = Caller(ORG, "ann", Role.ADMIN)
Operation = Callable[..., Any]


def operations(package: Any) -> Iterator[Operation]:
    """Return the public coroutine functions of the modules, except for parts of queries."""
    for found in pkgutil.iter_modules(package.__path__):
        module = import_module(f"{package.__name__}.{found.name}")
        for name, each in vars(module).items():
            if name.startswith("_") or getattr(each, "__module__", None) != module.__name__:
                continue
            is_coroutine = inspect.iscoroutinefunction(inspect.unwrap(each))
            if is_coroutine and next(iter(inspect.signature(each).parameters)) != "conn":
                yield each


QUERIES, COMMANDS = [*operations(queries)], [*operations(commands)]
OWN = [sessions.end_session, sessions.end_sessions]
"""Commands on what belongs to the caller alone, which every user may run."""


def name_of(operation: Operation) -> str:
    return f"{operation.__module__.removeprefix('engine.service.')}.{operation.__name__}"


@pytest.mark.parametrize("operation", QUERIES + COMMANDS, ids=name_of)
def test_operations_take_caller_and_service_and_return_json(operation: Operation) -> None:
    hints = get_type_hints(operation)
    assert [*hints][:2] == ["caller", "service"]
    msgspec.json.schema(hints["return"])


@pytest.mark.parametrize("operation", QUERIES, ids=name_of)
def test_queries_require_a_reader_or_an_admin(operation: Operation) -> None:
    is_for_admins = operation.__module__ in (
        identity.__name__,
        usage.__name__,
        webhooks.__name__,
    )
    assert operation.required_role is (Role.ADMIN if is_for_admins else Role.READER)
    assert not operation.requires_operator


@pytest.mark.parametrize("operation", QUERIES + COMMANDS, ids=name_of)
async def test_keys_are_refused_outside_of_their_scopes(operation: Operation) -> None:
    if operation.requires_task:
        with pytest.raises(Forbidden, match="requires the token of a claimed task"):
            await operation(ADMIN)
        return
    permitting = {KeyScope.API}
    if operation.required_role is Role.READER and operation not in OWN:
        permitting |= {KeyScope.READ}
    if operation.__name__ in ("invalidate", "ingest_messages", "ingest_request"):
        permitting |= {KeyScope.INGEST}
    if operation.__name__ == "claim_tasks":
        permitting |= {KeyScope.WORKER}
    assert operation.scopes == permitting
    caller = Caller(ORG, "ann", Role.ADMIN, scopes=frozenset({*KeyScope} - permitting))
    with pytest.raises(Forbidden, match=f"{operation.__name__} requires a key with the scope"):
        await operation(caller)


@pytest.mark.parametrize("operation", COMMANDS, ids=name_of)
async def test_commands_reject_lesser_roles(operation: Operation) -> None:
    assert operation.required_role in (Role.WRITER, Role.ADMIN) or operation in OWN
    for role in Role:
        if not role.includes(operation.required_role):
            # Without its other arguments: the check is the first step.
            with pytest.raises(Forbidden, match=f"the role {operation.required_role}") as refusal:
                await operation(Caller(ORG, None, role))
            assert refusal.value.code == "forbidden"


@pytest.mark.parametrize("operation", [o for o in COMMANDS if o.requires_operator], ids=name_of)
async def test_operations_on_other_orgs_are_reserved_to_operators(operation: Operation) -> None:
    with pytest.raises(Forbidden, match="operators"):
        await operation(ADMIN)


def test_the_operations_reserved_to_operators() -> None:
    reserved = {each.__name__ for each in COMMANDS if each.requires_operator}
    assert reserved == {
        "extend_key",
        "forget_reader",
        "grant",
        "revoke",
        "set_grants",
        "set_quota",
        "set_trusted",
    }


def test_a_role_includes_earlier_roles() -> None:
    assert Role.ADMIN.includes(Role.WRITER)
    assert Role.WRITER.includes(Role.WRITER)
    assert not Role.READER.includes(Role.WRITER)


def test_the_local_user_is_an_admin_of_the_org() -> None:
    assert Caller.local(ORG, "ann") == Caller(ORG, "ann", Role.ADMIN, is_operator=True)
