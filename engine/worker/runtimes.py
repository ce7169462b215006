"""Runtimes: where a job's operator runs. Found by entry point, ``knockon.runtimes``."""

from importlib.metadata import entry_points
from typing import Protocol

from engine.worker.context import Context, Result
from engine.worker.operators import Operator

GROUP = "knockon.runtimes"


class Runtime(Protocol):
    """What a plug-in of the group ``knockon.runtimes`` is: a class made without arguments."""

    async def run(self, operator: Operator, context: Context) -> Result | None:
        """Have the operator run, and return or raise what it does. Cancelling stops the run."""


class Local:
    """In this process."""

    async def run(self, operator: Operator, context: Context) -> Result | None:
        """See `Runtime`."""
        return await operator.run(context)


def installed_runtimes() -> dict[str, Runtime]:
    """The runtimes that this process can serve, by the name that jobs give."""
    plugins = {each.name: each.load() for each in entry_points(group=GROUP)}
    return {name: make() for name, make in ({"local": Local} | plugins).items()}
