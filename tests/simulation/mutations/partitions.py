"""Mutations of partition sets, mappings, and row filters."""

from __future__ import annotations

from typing import Any

import engine.planner.edge
import engine.planner.scope
from engine.lineage.rows import RowFilter
from engine.partitions import PartitionSet
from engine.partitions.intervals import Intervals
from engine.partitions.mapping.mapping import Mapping
from engine.partitions.mapping.relation import Overlap, _shifted
from tests.simulation.mutations.registry import LOST_WORK, Patch, around, classified, mutation


@mutation
def a_row_filter_narrows_to_nothing(patch: Patch) -> None:
    around(patch, engine.planner.scope, "narrow", lambda _: lambda rows, space, parts: space.empty)


@mutation
def a_row_filter_on_partitions_is_ignored(patch: Patch) -> None:
    around(patch, engine.planner.scope, "narrow", lambda _: lambda rows, space, parts: parts)


@mutation
def a_row_filter_propagates_through_jobs_mixing_rows(patch: Patch) -> None:
    """Keep the filter's columns by name, whatever the job does with them."""

    def by_name(real: Any) -> Any:
        def wrong(self: RowFilter, passes: Any) -> Any:
            names = {c.column: [c.column] for c in self.conditions}
            return real(
                self, {**names, **{c: [*names.get(c, ()), *to] for c, to in passes.items()}}
            )

        return wrong

    around(patch, RowFilter, "propagate", by_name)


@mutation
def a_row_filter_selects_the_other_groups(patch: Patch) -> None:
    def pass_on(real: Any) -> Any:
        def wrong(rows: Any, edge: Any, touched: Any) -> Any:
            selected, passed = real(rows, edge, touched)
            return touched - selected if selected != touched else selected, passed

        return wrong

    around(patch, engine.planner.edge, "pass_on", pass_on)


@mutation
def a_row_filter_stops_at_the_first_job(patch: Patch) -> None:
    around(patch, RowFilter, "propagate", lambda _: lambda self, passes: None)


@mutation
def a_window_is_one_short_downstream(patch: Patch) -> None:
    around(patch, Overlap, "down", lambda down: lambda self, keys: _short(down(self, keys)))


@mutation
def a_window_is_one_short_upstream(patch: Patch) -> None:
    around(patch, Overlap, "up", lambda up: lambda self, keys: _short(up(self, keys)))


@mutation
def a_window_is_one_too_long_downstream(patch: Patch) -> None:
    def long(self: Overlap, window: Intervals) -> Intervals:
        if not window or not window.is_finite:
            return window
        *head, (lo, hi) = window.spans
        return Intervals.of([*head, (lo, hi + 1)]) & self.target.universe

    around(patch, Overlap, "down", lambda down: lambda self, keys: long(self, down(self, keys)))


@mutation
def a_window_is_not_mirrored_downstream(patch: Patch) -> None:
    def straight(self: Overlap, touched: Intervals) -> Intervals:
        aligned = self.target.overlapping(self.source.windows(touched))
        return _shifted(aligned, self.first, self.last) & self.target.universe

    around(patch, Overlap, "down", lambda _: straight)


def _short(window: Intervals) -> Intervals:
    """Drop the last partition if there are two or more."""
    if not window.is_finite or window.count() < 2:
        return window
    *head, (lo, hi) = window.spans
    return Intervals.of([*head, (lo, hi - 1)])


@mutation
def forecasts_are_not_built(patch: Patch) -> None:
    around(patch, Mapping, "within", lambda _: lambda self, *_: self.target.empty)


@mutation
def the_first_partition_counts_as_the_last(patch: Patch) -> None:
    def first(self: Mapping, known: Any) -> Any:
        boxes = (known.boxes if known else ()) or self.source.universe.boxes
        return {
            i: self._last(i, [Intervals.single(min(b[i].spans[0][0] for b in boxes))])
            for i in self.links.latest
        }

    around(patch, Mapping, "_latest", lambda _: first)


@classified(LOST_WORK)
def a_set_covers_what_it_overlaps(patch: Patch) -> None:
    around(patch, PartitionSet, "covers", lambda _: lambda self, other: bool(self & other))
