"""Runtimes: environments that execute operators, from entry points ``knockon.runtimes``."""

from importlib.metadata import entry_points
from typing import Protocol

from engine.worker.context import Context, Result
from engine.worker.operators import Operator

GROUP = "knockon.runtimes"


class Runtime(Protocol):
    """Plug-in of the group ``knockon.runtimes``: a class without constructor arguments."""

    async def run(self, operator: Operator, context: Context) -> Result | None:
        """Run the operator, and return its result or raise its error. Cancellation ends it."""


class Local:
    """Run operators in this process."""

    async def run(self, operator: Operator, context: Context) -> Result | None:
        """See `Runtime`."""
        return await operator.run(context)


def installed_runtimes() -> dict[str, Runtime]:
    """Return the runtimes of this process by name."""
    plugins = {plugin.name: plugin.load() for plugin in entry_points(group=GROUP)}
    return {name: make() for name, make in ({"local": Local} | plugins).items()}
