"""Mutations of the schedules of sources."""

from __future__ import annotations

from typing import Any

import engine.flow.ingestion.schedules
from tests.simulation.mutations.registry import Patch, around, mutation


@mutation
def a_schedule_covers_earlier_windows(patch: Patch) -> None:
    def shifted(covered: Any) -> Any:
        def wrong(space: Any, source: Any, times: Any, **more: Any) -> Any:
            first, last = source["covers"]
            return covered(space, source | {"covers": (first - 1, last - 1)}, times, **more)

        return wrong

    around(patch, engine.flow.ingestion.schedules, "covered", shifted)
