"""Operators run the code of jobs; a job names its operator."""

from functools import cache
from importlib.metadata import entry_points
from typing import Protocol, cast

from engine.errors import InvalidInput
from engine.worker.context import Context, Result
from engine.worker.operators.python import Python
from engine.worker.operators.shell import Shell
from engine.worker.operators.sql import Sql

GROUP = "knockon.operators"
_BUILT_IN: dict[str, type["Operator"]] = {"sql": Sql, "python": Python, "shell": Shell}


class Operator(Protocol):
    """Plug-in of the group ``knockon.operators``: a class without constructor arguments."""

    async def run(self, context: Context) -> Result | None:
        """Compute the task's partitions.

        The worker records the returned result as the task's completion. None, or a result with
        ``is_recorded``, means that the operator has done so, in the transaction that wrote the
        data. Raises TaskFailed if another attempt may succeed, InvalidInput if none can; other
        errors count as TaskFailed.
        """


@cache
def operator_named(name: str) -> Operator:
    """Return the operator of that name, one instance per process. Raises InvalidInput."""
    if name in _BUILT_IN:
        return _BUILT_IN[name]()
    for plugin in entry_points(group=GROUP, name=name):
        return cast("Operator", plugin.load()())
    raise InvalidInput(
        f"there is no operator {name!r} here: install its plug-in (entry point group {GROUP}), or "
        f"use one of {', '.join(sorted(installed_operators()))}"
    )


def installed_operators() -> frozenset[str]:
    """Return the names of the operators of this environment."""
    return frozenset({*_BUILT_IN, *(plugin.name for plugin in entry_points(group=GROUP))})
