"""Every operation of a command can be sent to a server, or has a reason why not."""

import ast
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import engine.cli.commands
import engine.cli.runtime
from engine.client.operations.remote_service import MODULES, RemoteService
from engine.client.operations.sending import SENT
from engine.errors import InvalidInput
from engine.service.commands.verify import verify
from tests.unit.http.test_operations import WITHOUT_ROUTE
from tests.unit.service.test_operations import name_of

_POSITIONS = {"before"}
"""Parameters that continue a list, for which the client has pages."""


def _operations_of_commands() -> Iterator[Callable[..., Any]]:
    """Return the operations that modules of the command line import, or import the module of."""
    for package in (engine.cli.commands, engine.cli.runtime):
        for found in pkgutil.iter_modules(package.__path__):
            path = Path(package.__path__[0]) / f"{found.name}.py"
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and str(node.module).startswith(
                    ("engine.service.commands", "engine.service.queries")
                ):
                    yield from _imported(str(node.module), [name.name for name in node.names])


def _imported(module: str, names: list[str]) -> Iterator[Callable[..., Any]]:
    source = import_module(module)
    for name in names:
        each = getattr(source, name)
        candidates = vars(each).values() if inspect.ismodule(each) else [each]
        yield from (one for one in candidates if hasattr(one, "required_role"))


OPERATIONS = sorted(set(_operations_of_commands()), key=name_of)


def test_the_commands_have_operations() -> None:
    assert len(OPERATIONS) > 60


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_an_operation_of_a_command_can_be_sent_or_has_no_route(operation: Any) -> None:
    assert (operation in SENT) is not _is_local(operation)


def _is_local(operation: Any) -> bool:
    reason = WITHOUT_ROUTE.get(name_of(operation))
    return reason is not None and "another operation" not in reason


@pytest.mark.parametrize("operation", SENT, ids=name_of)
def test_a_sent_operation_has_its_own_parameters_and_result(operation: Any) -> None:
    _, _, *own = inspect.signature(operation).parameters.values()
    _, *sent = inspect.signature(SENT[operation]).parameters.values()
    kept = [each for each in own if each.name not in _POSITIONS]
    assert [(each.name, each.default, each.kind) for each in sent] == [
        (each.name, each.default, each.kind) for each in kept
    ]
    assert get_type_hints(SENT[operation])["return"] == get_type_hints(operation)["return"]


def test_every_module_declares_operations() -> None:
    modules = {function.__module__ for function in SENT.values()}
    assert modules == {module.__name__ for module in MODULES}


async def test_another_operation_is_refused_with_a_remedy() -> None:
    remote = RemoteService(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="verify is not possible with a server: run"):
        await verify(None, remote, share=1, seed=1)  # type: ignore[arg-type]
