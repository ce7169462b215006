"""The content of a partition: its versions, and which scopes a run or an event has changed.

A partition's content version is the time of its last change. Columns have versions of their own
where they differ, and changes of some rows only are listed, so that a reader can compare the
version that its last run recorded with what has changed since in the scope that it reads.

A fingerprint covers the whole partition. Where a plan has propagated only some scopes of it, a run
with another fingerprint has changed those scopes as far as anybody knows; the others keep the
fingerprint that they were last compared with (``attributed``). A change that a run took in before
its event arrived is found in this way when the event is planned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from engine.lineage.columns import PRUNED, DirtyColumns, Pruning, widest
from engine.lineage.scope import EVERYTHING, Scope

OTHERS: Final = "*"
"""All columns, or all scopes, that have no entry of their own."""
_COLUMNS: Final = "columns"
"""Entry of ``attributed`` with the only columns that have changed since; without it, any may."""
MOST_ROW_CHANGES: Final = 64
"""Changes of some rows that are listed for one partition."""
_KEPT_ROW_CHANGES = MOST_ROW_CHANGES // 2
_MOST_ATTRIBUTED = 16
_TICK = timedelta(microseconds=1)
_NO_COLUMNS: Final = Scope(frozenset())


class RowChange(msgspec.Struct, frozen=True):
    """A change of some rows at a version; ``columns`` None: in any column."""

    at: datetime
    scope: Scope


class Content(msgspec.Struct, frozen=True):
    """What is known of a partition's content; a version is the time of a change.

    ``column_versions`` has the version of single columns, and of all others under ``*``, without
    the changes in ``row_changes``; None: ``changed_at`` is the version of each. ``fingerprint``
    None: nothing is known of the content, so whatever a run writes is a change.
    """

    changed_at: datetime
    column_versions: Mapping[str, datetime] | None = None
    row_changes: tuple[RowChange, ...] = ()
    fingerprint: str | None = None
    column_fingerprints: Mapping[str, str] | None = None
    attributed: Mapping[str, str] | None = None
    row_count: int | None = None

    @property
    def oldest_row_changes(self) -> tuple[RowChange, ...]:
        """Those to be dropped, so that a change does not drop one each time; none while few."""
        if len(self.row_changes) <= MOST_ROW_CHANGES:
            return ()
        return self.row_changes[:-_KEPT_ROW_CHANGES]

    def without(self, dropped: Sequence[RowChange]) -> Content:
        """The same where the oldest changes of some rows count as changes of all rows."""
        versions = dict(self.column_versions or {OTHERS: self.changed_at})
        for each in dropped:
            for column in versions if each.scope.columns is None else each.scope.columns:
                versions[column] = max(versions.get(column, versions[OTHERS]), each.at)
        return msgspec.structs.replace(
            self, column_versions=versions, row_changes=self.row_changes[len(dropped) :]
        )


class Written(msgspec.Struct, frozen=True):
    """The content that a run has written.

    ``is_changed`` is the worker's own statement, as are ``changed_columns``; None: the
    fingerprints decide. ``fingerprint`` differs from any other where the worker reported none.
    """

    fingerprint: str
    column_fingerprints: Mapping[str, str] | None = None
    row_count: int | None = None
    is_changed: bool | None = None
    changed_columns: frozenset[str] | None = None


class Outcome(msgspec.Struct, frozen=True):
    """The content after a run, and how it differs from the content before.

    ``columns`` are the changed ones (None: all), PRUNED where nothing changed. Scopes may still get
    the version of an earlier change then, by which readers that have not run since are stale.
    ``unpropagated`` are the columns of which no plan has invalidated the readers.
    """

    content: Content
    columns: DirtyColumns | Pruning
    unpropagated: DirtyColumns | Pruning = PRUNED


def compare(
    before: Content | None, written: Written, scopes: Sequence[Scope] | None, now: datetime
) -> Outcome:
    """Compare what a run has written with the content before.

    ``scopes`` are those that plans have propagated to readers; None: everything.
    """
    if before is not None:
        written = _identified(before, written, now)
    if before is None or (before.fingerprint is None and not _has_columns(before, written)):
        return Outcome(_rewritten(before, written, now), None, PRUNED if scopes is None else None)
    columns = _changed_columns(before, written)
    if scopes is None:
        return _compare_whole(before, written, columns, now)
    return _compare_scopes(before, written, columns, scopes, now)


def _identified(before: Content, written: Written, now: datetime) -> Written:
    """The content with a fingerprint that agrees with the worker's own statement about it."""
    if written.is_changed is None:
        return written
    fingerprint = written.fingerprint
    if not written.is_changed:
        fingerprint = before.fingerprint or fingerprint
    elif fingerprint in (before.fingerprint, *(before.attributed or {}).values()):
        fingerprint = f"{fingerprint} {max(now, before.changed_at + _TICK).isoformat()}"
    return msgspec.structs.replace(written, fingerprint=fingerprint)


def _rewritten(before: Content | None, written: Written, now: datetime) -> Content:
    at = now if before is None else max(now, before.changed_at + _TICK)
    return _stored(Content(at), written, None)


def _changed_columns(before: Content, written: Written) -> DirtyColumns | Pruning:
    """The columns known to differ; PRUNED: none; None: any may."""
    if written.is_changed is False:
        return PRUNED
    if written.is_changed is None and before.fingerprint == written.fingerprint:
        return PRUNED
    has_rows_moved = None not in (before.row_count, written.row_count) and (
        before.row_count != written.row_count
    )
    if has_rows_moved:
        return None
    if written.changed_columns is not None:
        return written.changed_columns or PRUNED
    if before.fingerprint is None and before.column_fingerprints == written.column_fingerprints:
        return PRUNED
    return _differing(before.column_fingerprints, written.column_fingerprints)


def _differing(
    before: Mapping[str, str] | None, now: Mapping[str, str] | None
) -> frozenset[str] | None:
    """None where one is missing, none differs or all do: then rows have come or gone."""
    if before is None or now is None:
        return None
    columns = before.keys() | now.keys()
    differing = frozenset(each for each in columns if before.get(each) != now.get(each))
    return None if not differing or len(differing) == len(columns) else differing


def _compare_whole(
    before: Content, written: Written, columns: DirtyColumns | Pruning, now: datetime
) -> Outcome:
    is_attributed = all(each == written.fingerprint for each in _bases(before).values())
    unattributed = PRUNED if is_attributed else _changed_since_base(before)
    if columns is PRUNED:
        content = before
        if unattributed is not PRUNED:
            content = _with_change(before, Scope(unattributed), before.changed_at)
    else:
        columns = columns if unattributed is PRUNED else widest(columns, unattributed)
        content = _with_change(before, Scope(columns), max(now, before.changed_at + _TICK))
    return Outcome(_stored(content, written, None), columns)


def _compare_scopes(
    before: Content,
    written: Written,
    columns: DirtyColumns | Pruning,
    scopes: Sequence[Scope],
    now: datetime,
) -> Outcome:
    is_same = columns is PRUNED
    is_exact = is_same or columns is not None or _has_columns(before, written)
    changed = [*_changed_scopes(before, written, columns, scopes, is_exact=is_exact)]
    rest = _rest(columns, _covered(before, scopes)) if is_exact else PRUNED
    # Scopes that were not compared with the content when it changed have changed back then.
    at = before.changed_at if is_same else max(now, before.changed_at + _TICK)
    # Without such a scope the change still has a version, which no column bears before its plan.
    content = before if is_same else _with_change(before, _NO_COLUMNS, at)
    for scope in changed if rest is PRUNED else [*changed, Scope(rest)]:
        content = _with_change(content, scope, at)
    attributed = None
    if not (is_exact and all(each.rows is None for each in scopes) and before.attributed is None):
        since = _changed_since(before, columns) if is_exact else None
        attributed = _attributed(before, written, scopes, since)
    columns = PRUNED if is_same else _union(changed, rest)
    return Outcome(_stored(content, written, attributed), columns, rest)


def _has_columns(before: Content, written: Written) -> bool:
    """Whether single columns are compared, so that a change of all of them is known to be one."""
    if before.fingerprint is None and before.column_fingerprints is None:
        # An attempt has written and failed: a worker may compare with the content that it left.
        return False
    return written.changed_columns is not None or (
        before.column_fingerprints is not None and written.column_fingerprints is not None
    )


def _changed_scopes(
    before: Content,
    written: Written,
    columns: DirtyColumns | Pruning,
    scopes: Sequence[Scope],
    *,
    is_exact: bool,
) -> Iterator[Scope]:
    """The propagated scopes that have changed, since each was last compared."""
    for scope in scopes:
        base = _base(before, scope)
        if base not in (before.fingerprint, written.fingerprint):
            since = _changed_since(before, columns) if is_exact else None
            within = _within(since, scope.columns)
            if within is not PRUNED:
                yield Scope(within, scope.rows)
        elif is_exact:
            within = _within(columns, scope.columns)
            if within is not PRUNED:
                yield Scope(within, scope.rows)
        elif before.fingerprint != written.fingerprint:
            # Even back at the base: a reader may have run on the content in between.
            yield scope


def _base(before: Content, scope: Scope) -> str | None:
    bases = _bases(before)
    return bases.get(scope.key, bases[OTHERS]) if bases else before.fingerprint


def _bases(before: Content) -> dict[str, str]:
    """The fingerprint that each scope was last compared with; empty: all with the last one."""
    return {key: each for key, each in (before.attributed or {}).items() if key != _COLUMNS}


def _changed_since_base(before: Content) -> DirtyColumns:
    """The columns that may have changed since some scope was last compared; None: any."""
    names = (before.attributed or {}).get(_COLUMNS)
    return None if names is None else frozenset(msgspec.json.decode(names, type=list[str]))


def _changed_since(before: Content, columns: DirtyColumns | Pruning) -> DirtyColumns | Pruning:
    """The same with the columns that a run has changed now."""
    if before.attributed is None:
        return columns
    since = _changed_since_base(before)
    return since if columns is PRUNED else widest(since, columns)


def _within(columns: DirtyColumns | Pruning, scope: DirtyColumns) -> DirtyColumns | Pruning:
    if columns is PRUNED or scope is None:
        return columns
    if columns is None:
        return scope
    return (columns & scope) or PRUNED


def _covered(before: Content, scopes: Sequence[Scope]) -> Sequence[Scope]:
    """The propagated scopes that account for every change of their columns.

    Another row has an event of its own that is still to be planned, unless the change was decided
    against: then the fingerprint is forgotten.
    """
    return [each for each in scopes if each.rows is None or before.fingerprint is not None]


def _rest(columns: DirtyColumns | Pruning, scopes: Sequence[Scope]) -> DirtyColumns | Pruning:
    """The changed columns that are in no propagated scope."""
    if columns is PRUNED or any(each.columns is None for each in scopes):
        return PRUNED
    if columns is None:
        return None
    return columns.difference(*(each.columns or () for each in scopes)) or PRUNED


def _union(changed: Sequence[Scope], rest: DirtyColumns | Pruning) -> DirtyColumns | Pruning:
    parts = [each.columns for each in changed] + ([] if rest is PRUNED else [rest])
    if not parts:
        return PRUNED
    return None if None in parts else frozenset().union(*(each or () for each in parts))


def _attributed(
    before: Content,
    written: Written,
    scopes: Sequence[Scope],
    since: DirtyColumns | Pruning,
) -> Mapping[str, str] | None:
    """The fingerprint by which each scope was last compared; None where it is the same one.

    ``since`` are the columns that have changed since the first of these.
    """
    base = _bases(before) or {OTHERS: before.fingerprint or ""}
    found = {**base, **{each.key: written.fingerprint for each in scopes}}
    if set(found.values()) == {written.fingerprint}:
        return None
    if len(found) > _MOST_ATTRIBUTED:
        # A scope without an entry was compared with the others, or its entry was dropped: nothing
        # equals the empty text, so it counts as changed.
        del found[OTHERS]
        found = {OTHERS: "", **dict([*found.items()][1 - _MOST_ATTRIBUTED :])}
    if since is not None:
        names = () if since is PRUNED else since
        found[_COLUMNS] = msgspec.json.encode(sorted(names)).decode()
    return found


def _with_change(content: Content, scope: Scope, at: datetime) -> Content:
    replace = msgspec.structs.replace
    others = content.column_versions or {OTHERS: content.changed_at}
    if scope == EVERYTHING:
        return replace(content, changed_at=at, column_versions=None, row_changes=())
    if scope.rows is not None:
        entry = RowChange(at, scope)
        listed = (*content.row_changes, entry)
        return replace(content, changed_at=at, column_versions=others, row_changes=listed)
    moved = {**others, **dict.fromkeys(scope.columns or (), at)}
    return replace(content, changed_at=at, column_versions=moved)


def _stored(content: Content, written: Written, attributed: Mapping[str, str] | None) -> Content:
    return msgspec.structs.replace(
        content,
        fingerprint=written.fingerprint,
        column_fingerprints=written.column_fingerprints,
        row_count=written.row_count,
        attributed=attributed,
    )
