"""Processes that work for an org."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ALL_ORGS: Final = "all"
"""In place of the slug of an org: every org of the installation."""


class ProcessKind(StrEnum):
    """A kind of work that processes do for an org."""

    ENGINE = "engine"
    WORKER = "worker"
    CONSUMER = "consumer"


@dataclass(frozen=True, slots=True)
class Presence:
    """The work of one process, for the org with this slug, or for `ALL_ORGS`."""

    org: str
    kinds: tuple[ProcessKind, ...]
