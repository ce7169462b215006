"""The page of the operations allowed to each role and key scope, from `engine.service`."""

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

from engine.model.states import KeyScope, Role
from engine.service import commands, queries
from tests.documentation.markdown import GENERATED, code, table

_INTRODUCTION = """
# Permissions

The table lists the operations of the service, which the command line and the
[HTTP API](http-api.md) share: the roles of a user and the scopes of a
[key](../how-to/manage-users-and-keys.md#keys) that permit each of them. Tokens of an identity
provider and sessions in a browser permit what `api` permits. Some are reserved for
operators of the installation, who use the command line beside the database. Reports on a claimed
task need only its token.

Users without a role of the org see nothing of the datasets
[restricted to it](../how-to/manage-users-and-keys.md#hide-a-dataset), whatever the operation.

"""

_Operation = Callable[..., Any]


def page() -> str:
    """The page of permissions."""
    heads = ["operation", *(code(role) for role in Role), *(code(scope) for scope in KeyScope), ""]
    return GENERATED + _INTRODUCTION + table(heads, map(_row, operations()))


def operations() -> Iterator[_Operation]:
    """Return the operations of all modules, queries first."""
    for package in (queries, commands):
        for found in pkgutil.iter_modules(package.__path__):
            yield from _of_module(import_module(f"{package.__name__}.{found.name}"))


def _of_module(module: ModuleType) -> Iterator[_Operation]:
    for operation in vars(module).values():
        is_own = getattr(operation, "__module__", None) == module.__name__
        if is_own and inspect.isfunction(operation) and hasattr(operation, "required_role"):
            yield operation


def _row(operation: Any) -> list[str]:
    is_by_role = not (operation.requires_operator or operation.requires_task)
    roles = [is_by_role and role.includes(operation.required_role) for role in Role]
    scopes = [is_by_role and scope in operation.scopes for scope in KeyScope]
    note = "operators" if operation.requires_operator else ""
    noun = operation.__module__.rsplit(".", 1)[-1]
    return [
        code(f"{noun}.{operation.__name__}"),
        *("yes" if each else "" for each in (*roles, *scopes)),
        "token of the task" if operation.requires_task else note,
    ]
