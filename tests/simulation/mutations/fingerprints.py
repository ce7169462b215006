"""Mutations of the fingerprints of source events."""

from __future__ import annotations

from typing import Any

import engine.flow.planning.decision
from engine.flow.planning.fingerprints import Compared
from tests.simulation.mutations.registry import Patch, around, mutation


@mutation
def described_data_counts_as_changed(patch: Patch) -> None:
    async def all_of_them(conn: Any, lineage: Any, invalidations: Any) -> Compared:
        return Compared(invalidations)

    around(patch, engine.flow.planning.decision, "compare_fingerprints", lambda _: all_of_them)
