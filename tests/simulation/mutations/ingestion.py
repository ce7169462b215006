"""Mutations of ingestion: lost events, positions, and widened or narrowed invalidations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

import engine.flow.ingestion.ingest
import tests.simulation.engines
from tests.simulation.mutations.registry import (
    INGEST,
    Patch,
    around,
    classified,
    mutation,
    statement,
)


@mutation
def the_last_event_of_a_batch_is_lost(patch: Patch) -> None:
    def lossy(resolved: Any) -> Any:
        return lambda lineage, groups, earlier: resolved(lineage, groups[:-1], earlier)

    around(patch, engine.flow.ingestion.ingest, "_resolved", lossy)


@mutation
def coalescing_takes_the_columns_of_the_first(patch: Patch) -> None:
    def forgetful(coalesce: Any) -> Any:
        def wrong(resolved: Any) -> Any:
            return coalesce([replace(event, columns=resolved[0].columns) for event in resolved])

        return wrong

    around(patch, engine.flow.ingestion.ingest, "coalesce", forgetful)


@mutation
def a_position_is_not_compared(patch: Patch) -> None:
    statement(patch, "positions.advance", "AND position = %(before)s", "")


@mutation
def a_position_moves_without_its_invalidations(patch: Patch) -> None:
    """Advance the position in a separate transaction, before the invalidations."""

    def ahead(ingest: Any) -> Any:
        async def wrong(conn: Any, org: Any, batch: Any) -> Any:
            empty = msgspec.structs.replace(batch, received=())
            await ingest(conn, org, empty)
            return await ingest(conn, org, msgspec.structs.replace(batch, advances=()))

        return wrong

    around(patch, tests.simulation.engines, "ingest", ahead)


@classified(INGEST)
def ingest_drops_columns_and_rows(patch: Patch) -> None:
    widened = {"columns": None, "row_filter": None}
    around(
        patch, engine.flow.ingestion.ingest, "_parameters", lambda of: lambda one: of(one) | widened
    )


@classified(INGEST)
def ingest_widens_everything(patch: Patch) -> None:
    """Widen every invalidation of partitions to the whole dataset."""

    def wide(resolve: Any) -> Any:
        def wrong(lineage: Any, *received: Any, earlier: Any) -> Any:
            resolved = resolve(lineage, *received, earlier=earlier)
            is_finite = resolved.partitions is not None and resolved.space.universe.is_finite
            if not is_finite:
                return resolved
            return replace(resolved, partitions=resolved.space.universe)

        return wrong

    around(patch, engine.flow.ingestion.ingest, "resolve", wide)


@classified(INGEST)
def a_refused_letter_counts_as_replayed(patch: Patch) -> None:
    """Drop the error of a letter rejected again, and hide the letter."""
    statement(patch, "dead_letters.insert", "replayed_at = NULL", "replayed_at = now()")
