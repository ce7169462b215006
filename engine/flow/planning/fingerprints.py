"""Fingerprints of source events: partitions that an event describes as they are stay unchanged.

An event of a source may carry a fingerprint or a version of the data in its partitions. The last
one is stored with the partition; any other change of the partition removes it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from engine.lineage.graph import Lineage
from engine.lineage.narrowing import narrow
from engine.model.invalidation import Invalidation
from engine.planner import MOST_LOOKED_UP
from engine.planner.scope import row_filter
from engine.store.database import Connection
from engine.store.rows.partitions import KeyFingerprint
from engine.store.run import execute, fetch

_Described = dict[str, str | None]
"""Fingerprints by partition key; None: unknown."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The changed parts of invalidations, and the fingerprints to be stored with the partitions."""

    parts: Sequence[Invalidation]
    fingerprints: Mapping[UUID, _Described] = field(default_factory=dict)


async def compare_fingerprints(
    conn: Connection, lineage: Lineage, invalidations: Sequence[Invalidation]
) -> Compared:
    """Leave out partitions whose stored fingerprint is the one of the event.

    Invalidations are compared in order, each with the state after those before it.
    """
    described = {each.dataset for each in invalidations if each.fingerprint is not None}
    if not described:
        return Compared(invalidations)
    keys = {each.id: _keys(lineage, each) for each in invalidations if each.dataset in described}
    wanted: defaultdict[UUID, set[str]] = defaultdict(set)
    for each in invalidations:
        wanted[each.dataset].update(keys.get(each.id) or ())
    state = {dataset: await _load(conn, lineage, dataset, wanted[dataset]) for dataset in described}
    parts: list[Invalidation] = []
    for each in invalidations:
        if each.dataset in described:
            parts += _changed_parts(lineage, each, keys[each.id], state[each.dataset])
        else:
            parts.append(each)
    return Compared(parts, state)


def _keys(lineage: Lineage, invalidation: Invalidation) -> list[str] | None:
    """Return the partitions that an invalidation names; None if they are too many, or unknown."""
    space = lineage.space(invalidation.dataset)
    if invalidation.partition_key is None:
        return list(space.keys(space.universe)) if not space.dimensions else None
    named = space.parse(invalidation.partition_key) & space.universe
    selected = narrow(row_filter(lineage, invalidation), space, named)
    if not selected.is_finite or selected.count() > MOST_LOOKED_UP:
        return None
    return list(space.keys(selected))


async def _load(conn: Connection, lineage: Lineage, dataset: UUID, keys: set[str]) -> _Described:
    rows = await fetch(
        conn,
        "partitions.fingerprints",
        KeyFingerprint,
        dataset=dataset,
        version=lineage.dataset(dataset).version,
        keys=sorted(keys),
    )
    return dict.fromkeys(keys) | {row.key: row.fingerprint for row in rows}


def _changed_parts(
    lineage: Lineage, invalidation: Invalidation, keys: list[str] | None, state: _Described
) -> list[Invalidation]:
    """Return the changed parts of an invalidation, and record the fingerprints in ``state``."""
    given = invalidation.fingerprint
    if keys is None:
        state.update(dict.fromkeys(state))
        return [invalidation]
    changed = [key for key in keys if given is None or state.get(key) != given]
    state.update(dict.fromkeys(keys, given))
    if len(changed) in (0, len(keys)):
        return [invalidation] if changed else []
    space = lineage.space(invalidation.dataset)
    return [
        replace(invalidation, partition_key=text) for text in space.texts(space.from_keys(changed))
    ]


async def store_fingerprints(
    conn: Connection, lineage: Lineage, fingerprints: Mapping[UUID, _Described]
) -> None:
    """Store the fingerprints of partitions, after their changes were recorded."""
    for dataset, described in fingerprints.items():
        await execute(
            conn,
            "partitions.set_fingerprints",
            dataset=dataset,
            version=lineage.dataset(dataset).version,
            keys=list(described),
            fingerprints=list(described.values()),
        )
