"""Services in other processes."""

from abc import ABC, abstractmethod
from typing import Any


class Remote(ABC):
    """A service in another process: operations are sent there, which checks the rights."""

    @abstractmethod
    async def send(self, operation: Any, *arguments: Any, **named: Any) -> Any:
        """Run an operation there; ``arguments`` are those after the service."""
