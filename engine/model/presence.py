"""Processes that work for an org."""

from dataclasses import dataclass
from enum import StrEnum


class ProcessKind(StrEnum):
    """A kind of work that processes do for an org."""

    ENGINE = "engine"
    WORKER = "worker"
    CONSUMER = "consumer"


@dataclass(frozen=True, slots=True)
class Presence:
    """The work of one process, for the org with this slug."""

    org: str
    kinds: tuple[ProcessKind, ...]
