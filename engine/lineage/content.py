"""The content of a partition: its versions, and the fingerprints by which runs are compared.

A partition's content version is the time of its last change. Columns with a different version have
an entry of their own, and row-level changes are listed, so that staleness of a reader is decided by
comparing the version recorded by its last run with later changes in the scope that it reads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Final

import msgspec

from engine.lineage.scope import EVERYTHING, Scope

OTHERS: Final = "*"
"""Key for all columns, or all scopes, without an entry of their own."""
MOST_ROW_CHANGES: Final = 64
"""The maximum number of row-level changes listed for one partition."""
_KEPT_ROW_CHANGES = MOST_ROW_CHANGES // 2


class RowChange(msgspec.Struct, frozen=True):
    """A row-level change at a version; ``scope.columns`` is None if any column may have changed."""

    at: datetime
    scope: Scope


class Content(msgspec.Struct, frozen=True):
    """The recorded state of a partition's content; a version is the time of a change.

    ``column_versions`` has the version of single columns, and of all others under ``*``, without
    the changes in ``row_changes``; None: ``changed_at`` is the version of every column.
    ``fingerprint`` None: the content is unknown, so any output of a run is a change, except for one
    with the ``unverified_fingerprint``: that of the content when a decision left it stale.
    """

    changed_at: datetime
    column_versions: Mapping[str, datetime] | None = None
    row_changes: tuple[RowChange, ...] = ()
    fingerprint: str | None = None
    column_fingerprints: Mapping[str, str] | None = None
    attributed: Mapping[str, str] | None = None
    row_count: int | None = None
    unverified_fingerprint: str | None = None

    @property
    def oldest_row_changes(self) -> tuple[RowChange, ...]:
        """The row changes to drop: none up to the maximum, then all but the newest half of it.

        Dropping in bulk avoids a merge at every further change.
        """
        if len(self.row_changes) <= MOST_ROW_CHANGES:
            return ()
        return self.row_changes[:-_KEPT_ROW_CHANGES]

    def without(self, dropped: Sequence[RowChange]) -> Content:
        """Return the content with the oldest row changes merged into the column versions."""
        versions = dict(self.column_versions or {OTHERS: self.changed_at})
        for change in dropped:
            for column in versions if change.scope.columns is None else change.scope.columns:
                versions[column] = max(versions.get(column, versions[OTHERS]), change.at)
        return msgspec.structs.replace(
            self, column_versions=versions, row_changes=self.row_changes[len(dropped) :]
        )


class Written(msgspec.Struct, frozen=True):
    """The content written by a run.

    ``is_changed`` and ``changed_columns`` are reported by the worker; None: the fingerprints
    decide. If the worker reported no ``fingerprint``, a unique value takes its place.
    """

    fingerprint: str
    column_fingerprints: Mapping[str, str] | None = None
    row_count: int | None = None
    is_changed: bool | None = None
    changed_columns: frozenset[str] | None = None


def by_last_change(content: Content, columns: frozenset[str]) -> Mapping[datetime, Collection[str]]:
    """Group columns by the version of their last change, in whichever rows."""
    others = content.column_versions or {OTHERS: content.changed_at}
    groups: defaultdict[datetime, list[str]] = defaultdict(list)
    for column in columns:
        versions = [others.get(column, others[OTHERS])]
        versions += (each.at for each in content.row_changes if each.scope.has(column))
        groups[max(versions)].append(column)
    return groups


def with_change(content: Content, scope: Scope, at: datetime) -> Content:
    """Return the content after a change of a scope at a version, possibly an earlier one.

    No version decreases.
    """
    replace = msgspec.structs.replace
    latest = max(content.changed_at, at)
    others = content.column_versions or {OTHERS: content.changed_at}
    if scope == EVERYTHING and at == latest:
        return replace(content, changed_at=at, column_versions=None, row_changes=())
    if scope.rows is not None:
        listed = sorted((*content.row_changes, RowChange(at, scope)), key=attrgetter("at"))
        return replace(
            content, changed_at=latest, column_versions=others, row_changes=tuple(listed)
        )
    columns = others if scope.columns is None else scope.columns
    moved = {column: max(at, others.get(column, others[OTHERS])) for column in columns}
    return replace(content, changed_at=latest, column_versions={**others, **moved})
