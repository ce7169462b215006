"""Operators: what runs a job's code, found by the name that the job gives."""

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
    """What a plug-in of the group ``knockon.operators`` is: a class made without arguments."""

    async def run(self, context: Context) -> Result | None:
        """Make the task's partitions.

        What it returns is recorded as the task's completion; None, or a result that is recorded,
        says that the operator has done that itself, in the transaction that wrote the data.
        Raises TaskFailed for an attempt that another may better, InvalidInput where none will help;
        other errors count as TaskFailed.
        """


@cache
def operator_named(name: str) -> Operator:
    """The operator of that name, one for the process. Raises InvalidInput."""
    if name in _BUILT_IN:
        return _BUILT_IN[name]()
    for plugin in entry_points(group=GROUP, name=name):
        return cast("Operator", plugin.load()())
    known = sorted({*_BUILT_IN, *(each.name for each in entry_points(group=GROUP))})
    raise InvalidInput(
        f"there is no operator {name!r}; there are {', '.join(known)}: install a plug-in for it "
        f"(entry point group {GROUP}), or name another"
    )
