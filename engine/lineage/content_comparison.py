"""Comparison of the content written by a run with the content before.

A fingerprint covers the whole partition. If a plan has propagated only some scopes, a run with a
different fingerprint counts as a change of those scopes; the others keep the fingerprint of their
last comparison (``attributed``). Hence a change that a run processed before its event arrived is
still detected when the event is planned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Final

import msgspec

from engine.lineage.columns import (
    ALL_COLUMNS,
    PRUNED,
    DirtyColumns,
    Pruning,
    dirty_columns,
    union_columns,
)
from engine.lineage.content import OTHERS, Content, Written, by_last_change, with_change
from engine.lineage.scope import Scope

_COLUMNS: Final = "columns"
"""Key in ``attributed`` for the only columns changed since; if absent, any may have changed."""
_MOST_ATTRIBUTED = 16
_TICK = timedelta(microseconds=1)
_NO_COLUMNS: Final = Scope(frozenset())


class Outcome(msgspec.Struct, frozen=True):
    """The content after a run, and the difference from the content before.

    ``columns`` are the changed columns, PRUNED if nothing changed. Even then, scopes
    may be assigned the version of an earlier change, which makes readers stale that have not run
    since. ``unpropagated`` are the columns for which no plan has invalidated the readers.
    ``late`` are columns with the version of an earlier change, for which perhaps none has.
    """

    content: Content
    columns: DirtyColumns | Pruning
    unpropagated: DirtyColumns | Pruning = PRUNED
    late: DirtyColumns | Pruning = PRUNED


def compare(
    before: Content | None, written: Written, scopes: Sequence[Scope] | None, now: datetime
) -> Outcome:
    """Compare the content written by a run with the content before.

    ``scopes`` are the scopes that plans have propagated to readers; None: everything.
    """
    if before is not None:
        before = _verified(before, written)
        written = _identified(before, written, now)
    if before is None or (before.fingerprint is None and not _has_columns(before, written)):
        unpropagated = PRUNED if scopes is None else ALL_COLUMNS
        return Outcome(_rewritten(before, written, now), ALL_COLUMNS, unpropagated)
    columns = _changed_columns(before, written)
    if scopes is None:
        return _compare_whole(before, written, columns, now)
    return _compare_scopes(before, written, columns, scopes, now)


def compare_unplanned(before: Content | None, written: Written, now: datetime) -> Outcome:
    """Compare the content written by a run of which the propagated scopes are unknown.

    Every change is unpropagated.
    """
    outcome = compare(before, written, None, now)
    late = PRUNED if before is None else _uncompared(before, _identified(before, written, now))
    return msgspec.structs.replace(outcome, unpropagated=outcome.columns, late=late)


def _verified(before: Content, written: Written) -> Content:
    """Return the content with the fingerprint before a decision, if the run's result is the same.

    Then the run has not incorporated the change that the decision left out.
    """
    fingerprint = before.unverified_fingerprint
    if before.fingerprint is not None or fingerprint is None or written.is_changed:
        return before
    is_same = written.is_changed is False or written.fingerprint == fingerprint
    return msgspec.structs.replace(before, fingerprint=fingerprint) if is_same else before


def _identified(before: Content, written: Written, now: datetime) -> Written:
    """Return the content with a fingerprint consistent with the worker's ``is_changed``."""
    fingerprint = written.fingerprint
    if written.is_changed is None:
        # The last run reported the same fingerprint, and a change from the content before.
        if before.fingerprint == _distinct(fingerprint, before.changed_at):
            fingerprint = before.fingerprint
    elif not written.is_changed:
        fingerprint = before.fingerprint or fingerprint
    elif fingerprint in (before.fingerprint, *(before.attributed or {}).values()):
        fingerprint = _distinct(fingerprint, max(now, before.changed_at + _TICK))
    return msgspec.structs.replace(written, fingerprint=fingerprint)


def _distinct(fingerprint: str, at: datetime) -> str:
    """Return a fingerprint of changed content that differs from the same one before the change."""
    return f"{fingerprint} {at.astimezone(UTC).isoformat()}"


def _rewritten(before: Content | None, written: Written, now: datetime) -> Content:
    at = now if before is None else max(now, before.changed_at + _TICK)
    return _stored(Content(at), written, None)


def _changed_columns(before: Content, written: Written) -> DirtyColumns | Pruning:
    """Return the columns that may differ; PRUNED: none."""
    if written.is_changed is False:
        return PRUNED
    if written.is_changed is None and before.fingerprint == written.fingerprint:
        return PRUNED
    has_rows_moved = None not in (before.row_count, written.row_count) and (
        before.row_count != written.row_count
    )
    if has_rows_moved:
        return ALL_COLUMNS
    if written.changed_columns is not None:
        return written.changed_columns or PRUNED
    if before.fingerprint is None and before.column_fingerprints == written.column_fingerprints:
        return PRUNED
    return _differing(before.column_fingerprints, written.column_fingerprints)


def _differing(before: Mapping[str, str] | None, now: Mapping[str, str] | None) -> DirtyColumns:
    """Return the columns with different fingerprints; all if rows may have been added or removed.

    That is the case if one side has no fingerprints, or if none of them or all of them differ.
    """
    if before is None or now is None:
        return ALL_COLUMNS
    columns = before.keys() | now.keys()
    differing = frozenset(column for column in columns if before.get(column) != now.get(column))
    return ALL_COLUMNS if not differing or len(differing) == len(columns) else differing


def _compare_whole(
    before: Content, written: Written, columns: DirtyColumns | Pruning, now: datetime
) -> Outcome:
    uncompared = _uncompared(before, written)
    content = before
    if uncompared is not PRUNED:
        content = with_change(content, Scope.of(uncompared), before.changed_at)
    if columns is not PRUNED:
        at = max(now, before.changed_at + _TICK)
        content = with_change(content, Scope.of(columns), at)
    return Outcome(_stored(content, written, None), columns)


def _uncompared(before: Content, written: Written) -> DirtyColumns | Pruning:
    """Return the columns whose changes by earlier runs have not been compared in every scope."""
    is_compared = all(fingerprint == written.fingerprint for fingerprint in _bases(before).values())
    return PRUNED if is_compared else _changed_since_base(before)


def _compare_scopes(
    before: Content,
    written: Written,
    columns: DirtyColumns | Pruning,
    scopes: Sequence[Scope],
    now: datetime,
) -> Outcome:
    is_same = columns is PRUNED
    is_exact = is_same or columns is not ALL_COLUMNS or _has_columns(before, written)
    changed = [*_changed_scopes(before, written, columns, scopes, is_exact=is_exact)]
    rest = _rest(columns, _covered(before, scopes)) if is_exact else PRUNED
    content = before
    # Scopes that were not compared when the content changed get the version of that change.
    for scope, version in _late_changes(before, written, columns, scopes) if is_exact else ():
        content = with_change(content, scope, version)
    if not is_same:
        at = max(now, before.changed_at + _TICK)
        # Even without a propagated scope the change has a version; columns get it once planned.
        content = with_change(content, _NO_COLUMNS, at)
        for scope in changed if rest is PRUNED else [*changed, Scope.of(rest)]:
            content = with_change(content, scope, at)
    attributed = None
    if not (is_exact and all(scope.rows is None for scope in scopes) and before.attributed is None):
        since = _changed_since(before, columns) if is_exact else ALL_COLUMNS
        # Columns may be found the same although the fingerprint has been discarded.
        last = written.fingerprint if is_same else before.fingerprint
        attributed = _attributed(_bases(before) or {OTHERS: last or ""}, written, scopes, since)
    columns = PRUNED if is_same else _union(changed, rest)
    return Outcome(_stored(content, written, attributed), columns, rest)


def _has_columns(before: Content, written: Written) -> bool:
    """Return whether single columns are compared, so that a change of all is known to be exact."""
    if before.fingerprint is None and before.column_fingerprints is None:
        # A failed attempt may have written: a worker may compare with the content left by it.
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
    """Iterate over the propagated scopes changed by the run, or perhaps since their comparison."""
    for scope in scopes:
        if is_exact:
            within = _within(columns, scope.dirty_columns)
            if within is not PRUNED:
                yield Scope.of(within, scope.rows)
        elif before.fingerprint != written.fingerprint or _is_behind(before, written, scope):
            # A return to the base is a change as well: a reader may have run in between.
            yield scope


def _late_changes(
    before: Content, written: Written, columns: DirtyColumns | Pruning, scopes: Sequence[Scope]
) -> Iterator[tuple[Scope, datetime]]:
    """Iterate over the propagated scopes changed by earlier runs since the comparison of each.

    Columns have the version of their last change in any rows; if the columns changed since are
    unknown, all have the version of the last change of the content.
    """
    earlier = _except(_changed_since(before, columns), columns)
    for scope in scopes:
        if not _is_behind(before, written, scope):
            continue
        within = _within(earlier, scope.dirty_columns)
        if earlier is ALL_COLUMNS and within is not PRUNED:
            yield Scope.of(within, scope.rows), before.changed_at
        elif isinstance(within, frozenset):
            for version, names in by_last_change(before, within).items():
                yield Scope.of(frozenset(names), scope.rows), version


def _is_behind(before: Content, written: Written, scope: Scope) -> bool:
    """Return True if the last comparison of a scope was with another content."""
    return _base(before, scope) not in (before.fingerprint, written.fingerprint)


def _except(
    columns: DirtyColumns | Pruning, others: DirtyColumns | Pruning
) -> DirtyColumns | Pruning:
    if columns is PRUNED or others is ALL_COLUMNS:
        return PRUNED
    if columns is ALL_COLUMNS or others is PRUNED:
        return columns
    return (columns - others) or PRUNED


def _base(before: Content, scope: Scope) -> str | None:
    bases = _bases(before)
    return bases.get(scope.key, bases[OTHERS]) if bases else before.fingerprint


def _bases(before: Content) -> dict[str, str]:
    """Return the fingerprint at the last comparison of each scope; empty: the current one."""
    return {
        key: fingerprint
        for key, fingerprint in (before.attributed or {}).items()
        if key != _COLUMNS
    }


def _changed_since_base(before: Content) -> DirtyColumns:
    """Return the columns that may have changed since the oldest comparison."""
    names = (before.attributed or {}).get(_COLUMNS)
    return dirty_columns(None if names is None else msgspec.json.decode(names, type=list[str]))


def _changed_since(before: Content, columns: DirtyColumns | Pruning) -> DirtyColumns | Pruning:
    """Return the columns changed since the oldest comparison, including those of this run."""
    if before.attributed is None:
        return columns
    since = _changed_since_base(before)
    return since if columns is PRUNED else union_columns(since, columns)


def _within(columns: DirtyColumns | Pruning, scope: DirtyColumns) -> DirtyColumns | Pruning:
    if columns is PRUNED or scope is ALL_COLUMNS:
        return columns
    if columns is ALL_COLUMNS:
        return scope
    return (columns & scope) or PRUNED


def _covered(before: Content, scopes: Sequence[Scope]) -> Sequence[Scope]:
    """Return the propagated scopes that account for every change of their columns.

    Changes of other rows have events that are still to be planned. After a rejected change there
    is no such event, and the fingerprint has been cleared.
    """
    return [scope for scope in scopes if scope.rows is None or before.fingerprint is not None]


def _rest(columns: DirtyColumns | Pruning, scopes: Sequence[Scope]) -> DirtyColumns | Pruning:
    """Return the changed columns outside all propagated scopes."""
    if columns is PRUNED or any(scope.columns is None for scope in scopes):
        return PRUNED
    if columns is ALL_COLUMNS:
        return ALL_COLUMNS
    return columns.difference(*(scope.columns or () for scope in scopes)) or PRUNED


def _union(changed: Sequence[Scope], rest: DirtyColumns | Pruning) -> DirtyColumns | Pruning:
    parts = [scope.dirty_columns for scope in changed] + ([] if rest is PRUNED else [rest])
    return reduce(union_columns, parts) if parts else PRUNED


def _attributed(
    bases: Mapping[str, str],
    written: Written,
    scopes: Sequence[Scope],
    since: DirtyColumns | Pruning,
) -> Mapping[str, str] | None:
    """Return the fingerprint at the last comparison of each scope; None if all are equal.

    ``bases`` are those before the run. ``since`` are the columns changed since the oldest of these
    comparisons.
    """
    fingerprints = {**bases, **{scope.key: written.fingerprint for scope in scopes}}
    if set(fingerprints.values()) == {written.fingerprint}:
        return None
    if len(fingerprints) > _MOST_ATTRIBUTED:
        # A scope without an entry may be one of those dropped here. The empty text equals no
        # fingerprint, so such a scope counts as changed.
        del fingerprints[OTHERS]
        fingerprints = {OTHERS: "", **dict([*fingerprints.items()][1 - _MOST_ATTRIBUTED :])}
    if since is not ALL_COLUMNS:
        names = () if since is PRUNED else since
        fingerprints[_COLUMNS] = msgspec.json.encode(sorted(names)).decode()
    return fingerprints


def _stored(content: Content, written: Written, attributed: Mapping[str, str] | None) -> Content:
    return msgspec.structs.replace(
        content,
        fingerprint=written.fingerprint,
        column_fingerprints=written.column_fingerprints,
        row_count=written.row_count,
        unverified_fingerprint=None,
        attributed=attributed,
    )
