"""A partition with its readers: the engine's record of its content beside the true content.

Only `content.compare` updates the record, and readers compare versions as in `stale.sql` and
`flow.stale`. The true content is kept cell by cell, so no rule of the engine decides if a reader is
up to date.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final, Literal

import msgspec

from engine.lineage.columns import PRUNED, DirtyColumns, Pruning
from engine.lineage.content import OTHERS, Content, Written
from engine.lineage.content_comparison import Outcome, compare, compare_unplanned
from engine.lineage.scope import EVERYTHING, Scope

COLUMNS = ("x", "y", "z")
ROWS = ("1", "2")
Cells = Mapping[tuple[str, str], int]
"""By row and column."""
Report = Literal[
    "columns", "some columns", "whole", "nothing", "flag", "flag and size", "named columns"
]

_NOON: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)


def cells_of(scope: Scope) -> list[tuple[str, str]]:
    rows = ROWS if scope.rows is None else (scope.rows["row"],)
    columns = COLUMNS if scope.columns is None else sorted(scope.columns)
    return [(row, column) for row in rows for column in columns]


@dataclass
class Reader:
    """A partition built from a scope of another partition."""

    scope: Scope
    read: Cells = field(default_factory=dict)
    recorded: datetime = _NOON
    is_waiting: bool = False
    is_queued: bool = False

    def is_current(self, table: Cells) -> bool:
        """Check that the last run read the current cells of the table."""
        return all(self.read[cell] == table[cell] for cell in cells_of(self.scope))

    def is_reached(self, changed: Scope) -> bool:
        """Check that a change in a scope concerns the reader."""
        return not set(cells_of(changed)).isdisjoint(cells_of(self.scope))

    def is_stale(self, content: Content) -> bool:
        """Check that the recorded versions show a change since the reader's last run."""
        later = [each for each in content.row_changes if each.at > self.recorded]
        return self._version(content) > self.recorded or any(
            self.is_reached(each.scope) for each in later
        )

    def _version(self, content: Content) -> datetime:
        versions = content.column_versions
        if versions is None:
            return content.changed_at
        if self.scope.columns is None:
            return max(versions.values())
        others = versions[OTHERS]
        return max(others, *(versions.get(each, others) for each in self.scope.columns))


class Partition:
    """A partition of a job whose input changes by events that are planned later."""

    def __init__(self, readers: Iterable[Scope]) -> None:
        self.input = {(row, column): 0 for row in ROWS for column in COLUMNS}
        self.table: Cells = dict(self.input)
        self.pending: list[Scope] = []
        self.propagated: dict[str, Scope] | None = None
        self.is_dirty = False
        self._numbers = count()
        written = self._written("columns", self.table, None)
        self.content = compare(None, written, None, _NOON).content
        self.readers = [Reader(scope) for scope in readers]
        for reader in self.readers:
            self.read(reader)

    def change(self, scope: Scope, values: Sequence[int]) -> None:
        """Change cells of the input; an event may name more cells than have changed."""
        self.input.update(zip(cells_of(scope), values, strict=False))
        self.pending.append(scope)

    def plan(self, events: slice) -> None:
        """Plan some of the events; affected readers wait for the task."""
        planned = self.pending[events]
        if not planned:
            return
        del self.pending[events]
        self.propagated = {**(self.propagated or {}), **{each.key: each for each in planned}}
        for reader in self.readers:
            reader.is_waiting |= any(map(reader.is_reached, planned))

    def read(self, reader: Reader) -> None:
        """Run a reader for any reason."""
        reader.read, reader.recorded = dict(self.table), self.content.changed_at
        reader.is_queued = False

    def read_all_queued(self) -> None:
        for reader in self.readers:
            if reader.is_queued:
                self.read(reader)

    def die(self) -> None:
        """Write and fail, as an attempt does."""
        if self.propagated is not None:
            self.table, self.is_dirty = dict(self.input), True
            self._forget(keep_columns=False)

    def cancel(self) -> list[Reader]:
        """Cancel the task: changes propagated by its plans are left to a later run.

        Returns stale readers with no pending run; none if the content is unknown.
        """
        if self.propagated is None:
            return []
        self.propagated = None
        self._attribute_fully()
        self._forget(keep_columns=not self.is_dirty)
        self._settle(PRUNED)
        return [] if self.is_dirty else [each for each in self.readers if self._is_lost(each)]

    def complete(self, report: Report, seconds: int, *, is_known: bool) -> list[Reader]:
        """Complete the task; returns stale readers with no pending run.

        ``is_known`` False: the scopes of the plans have been discarded, as if there were too many.
        """
        if self.propagated is None:
            return []
        before, self.table, self.is_dirty = self.table, dict(self.input), False
        written = self._written(report, before, self.content)
        now = _NOON + timedelta(seconds=seconds)
        outcome = _compare(self.content, written, [*self.propagated.values()], now, is_known)
        self.content, self.propagated = outcome.content, None
        for reader in self.readers:
            reader.is_queued |= _is_in(reader, outcome.late) and reader.is_stale(self.content)
        unpropagated = outcome.unpropagated
        lost = [each for each in self.readers if self._is_lost(each, unpropagated)]
        self._settle(outcome.columns)
        for reader in self.readers:
            reader.is_queued |= _is_in(reader, outcome.unpropagated)
        return lost

    def _is_lost(self, reader: Reader, unpropagated: DirtyColumns | Pruning = PRUNED) -> bool:
        """Return whether no run is pending for a reader that is outdated or recorded as stale."""
        if any(map(reader.is_reached, self.pending)):
            return False
        leads = reader.is_waiting or reader.is_queued or _is_in(reader, unpropagated)
        is_stale = reader.is_stale(self.content)
        is_outdated = not reader.is_current(self.table)
        return (is_stale or is_outdated) and not (leads and is_stale)

    def _settle(self, changed: DirtyColumns | Pruning) -> None:
        for reader in [each for each in self.readers if each.is_waiting]:
            reader.is_waiting = False
            reader.is_queued |= _is_in(reader, changed) or reader.is_stale(self.content)

    def _attribute_fully(self) -> None:
        """Same effect as `partitions.attribute_fully`, and the invalidation of the readers."""
        if self.content.attributed is not None:
            self.content = msgspec.structs.replace(
                self.content, column_versions=None, row_changes=(), attributed=None
            )
            for reader in self.readers:
                reader.is_queued = True

    def _forget(self, *, keep_columns: bool) -> None:
        """Same effect as `partitions.discard_fingerprints`."""
        columns = self.content.column_fingerprints if keep_columns else None
        last = self.content.fingerprint or self.content.unverified_fingerprint
        self.content = msgspec.structs.replace(
            self.content,
            fingerprint=None,
            column_fingerprints=columns,
            unverified_fingerprint=None if self.is_dirty else last,
        )

    def _written(self, report: Report, before: Cells, content: Content | None) -> Written:
        """The report of a run; its statements compare the table with the previous content."""
        unique = f"unique {next(self._numbers)}"
        by_column = {column: str([self.table[row, column] for row in ROWS]) for column in COLUMNS}
        match report:
            case "columns":
                return Written(str(by_column), by_column)
            case "some columns":
                return Written(unique, {each: by_column[each] for each in ("x", "y")})
            case "whole":
                return Written(str(by_column))
            case "nothing":
                return Written(unique)
            case "flag":
                is_changed = before != self.table
                kept = None if is_changed or content is None else content.fingerprint
                return Written(kept or unique, is_changed=is_changed)
            case "flag and size":
                return Written("6 cells", is_changed=before != self.table)
        changed = frozenset(
            column for row, column in before if before[row, column] != self.table[row, column]
        )
        return Written(unique, changed_columns=changed)


def _compare(
    before: Content, written: Written, scopes: Sequence[Scope], now: datetime, is_known: bool
) -> Outcome:
    if not is_known:
        return compare_unplanned(before, written, now)
    return compare(before, written, None if EVERYTHING in scopes else scopes, now)


def _is_in(reader: Reader, columns: DirtyColumns | Pruning) -> bool:
    return columns is not PRUNED and reader.is_reached(Scope.of(columns))
