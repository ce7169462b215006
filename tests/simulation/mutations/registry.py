"""Registry of mutations, and the functions that patch the engine.

Changes of a statement assert the presence of the replaced text, and replacements of a function its
existence, so that an outdated mutation fails visibly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import engine.store.queries

Patch = pytest.MonkeyPatch
MUTATIONS: dict[str, Callable[[Patch], None]] = {}
CLASSES: dict[str, str] = {}
LOST_WORK = "lost work: repaired by the audit"
EVIDENCE = "corrupted evidence: caught by the simulator or verify"
INGEST = "corrupted ingest: caught by the simulator"


def classified(name: str) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Register a mutation with its class."""

    def register(mutate: Callable[[Patch], None]) -> Callable[[Patch], None]:
        CLASSES[mutate.__name__] = name
        return mutation(mutate)

    return register


def mutation(mutate: Callable[[Patch], None]) -> Callable[[Patch], None]:
    """Register a mutation under its name."""
    MUTATIONS[mutate.__name__] = mutate
    return mutate


def around(patch: Patch, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace a function by ``make(function)``."""
    patch.setattr(owner, name, make(getattr(owner, name)))


def statement(patch: Patch, name: str, old: str, new: str) -> None:
    """Change the text of a named statement."""
    text = engine.store.queries.query(name)
    assert old in text, f"{name} has no {old!r} any more: fix the mutation"
    patch.setitem(engine.store.queries._queries(), name, text.replace(old, new))


async def nothing(*_: Any, **__: Any) -> list[Any]:
    """Replace an operation by one without effect."""
    return []
