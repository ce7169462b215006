"""Ingest source events as durable invalidations, and advance the consumer's position with them.

Each batch is one transaction. Unusable deliveries become dead letters; nothing is dropped. If the
database rejects a batch, the batch is halved until the deliveries at fault are isolated.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import msgspec
import structlog
from psycopg.types.json import Jsonb

from engine.errors import IdempotencyConflict, InvalidInput, PositionLost
from engine.flow.ingestion.coalesce import CoalescedInvalidation, coalesce
from engine.flow.ingestion.openlineage_runs import end_runs
from engine.flow.ingestion.record_lineage import record_reported_lineage
from engine.flow.ingestion.resolve import Resolved, by_scope, request_of, resolve, unknown_columns
from engine.flow.shared.org_context import OrgContext
from engine.garbage_collection import gc_paused
from engine.lineage.graph import Lineage
from engine.model.event import (
    MAX_TEXT,
    Batch,
    Delivery,
    Received,
    Rejection,
    halved,
    rejection,
)
from engine.model.reported_lineage import ReportedLineage
from engine.model.states import InvalidationOutcome
from engine.store.database import Connection
from engine.store.failures import is_due_to_data, reason_of
from engine.store.ids import new_id
from engine.store.notifications import INVALIDATIONS, notify
from engine.store.rows.invalidations import EarlierColumns, IdempotencyKey, InvalidationId
from engine.store.run import execute, fetch, fetch_one

_log = structlog.get_logger(__name__)
_MOST_LOGGED = 20
_MOST_LETTER_BYTES = 32 << 20
Rejected = Callable[[Sequence[Rejection]], Awaitable[None]]
"""Callback for a batch's rejections before the commit, repeated if the batch is retried."""

Confirm = Callable[[Connection], Awaitable[None]]
"""Check in a batch's transaction; raises to have the batch written differently or not at all."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """Result of a batch: the ids of the written invalidations, and the rejections.

    ``by_request`` maps the positions of new manual requests to their invalidations.
    ``unnamed_runs`` counts the runs whose final event omitted outputs announced earlier.
    """

    invalidations: tuple[UUID, ...]
    rejections: tuple[Rejection, ...]
    by_request: Mapping[str, tuple[UUID, ...]] = field(default_factory=dict)
    unnamed_runs: int = 0


async def ingest(
    conn: Connection,
    org: OrgContext,
    batch: Batch,
    rejected: Rejected | None = None,
    confirm: Confirm | None = None,
) -> Ingested:
    """Write a batch. Raises PositionLost, writing nothing, if another owner moved the position.

    ``rejected`` is called with the rejections before the commit. ``confirm`` raises if the deployed
    sources have since changed how the batch is to be read.
    """
    try:
        return await _ingest(conn, org, batch, rejected, confirm, write=_write_whole)
    except _Faulty:
        # Savepoints around parts of a batch cost two round trips, so only faulty batches have them.
        return await _ingest(conn, org, batch, rejected, confirm, write=_write_halving)


class _Faulty(Exception):
    """Some delivery of a batch cannot be written because of its data."""


_Write = Callable[[Connection, OrgContext, Sequence[Received]], Awaitable[Ingested]]


async def _ingest(
    conn: Connection,
    org: OrgContext,
    batch: Batch,
    rejected: Rejected | None,
    confirm: Confirm | None,
    write: _Write,
) -> Ingested:
    async with conn.transaction():
        await _advance(conn, org.id, batch)
        ends = await end_runs(conn, org.id, batch.runs)
        received = (*batch.received, *ends.received)
        ingested = await write(conn, org, received) if received else Ingested((), ())
        unrecorded = await _record_lineage(conn, org, batch.reported_lineage)
        rejections = (*batch.rejections, *ends.rejections, *ingested.rejections, *unrecorded)
        await write_dead_letters(conn, org.id, batch.consumer, rejections)
        if rejected and rejections:
            await rejected(rejections)
        if ingested.invalidations:
            await notify(conn, INVALIDATIONS, org.id)
        if confirm is not None:
            await confirm(conn)  # last: no other statement may see a later deploy
    return replace(ingested, rejections=rejections, unnamed_runs=ends.unnamed)


async def write_dead_letters(
    conn: Connection, org_id: UUID, consumer: str, rejections: Sequence[Rejection]
) -> None:
    """Store rejected deliveries as dead letters, for inspection and replay."""
    # A producer of only bad events causes thousands at once.
    for part in _parts(rejections):
        await execute(
            conn,
            "dead_letters.insert",
            org_id=org_id,
            consumer=consumer,
            ids=[new_id() for _ in part],
            streams=[rejected.stream for rejected in part],
            positions=[rejected.position for rejected in part],
            payloads=[rejected.payload for rejected in part],
            headers=[Jsonb(rejected.headers) for rejected in part],
            errors=[rejected.error for rejected in part],
            are_losses=[rejected.is_loss for rejected in part],
        )


def _parts(rejections: Sequence[Rejection]) -> Iterator[list[Rejection]]:
    """Yield parts for one statement each: bounded in size, and no message twice in a part."""
    part: dict[tuple[Any, ...], Rejection] = {}
    size = 0
    for rejected in rejections:
        # As in the digest of the table.
        content = rejected.error[:300] if rejected.payload is None else rejected.payload
        key = rejected.stream, rejected.position, content, *sorted(rejected.headers.items())
        size += len(rejected.payload or b"")
        if key in part or size > _MOST_LETTER_BYTES:
            yield [*part.values()]
            part, size = {}, len(rejected.payload or b"")
        part[key] = rejected
    if part:
        yield [*part.values()]


async def _advance(conn: Connection, org_id: UUID, batch: Batch) -> None:
    """Advance the positions by compare-and-set. Raises PositionLost."""
    for move in sorted(batch.advances, key=lambda move: move.stream):
        moved = await execute(
            conn,
            "positions.start" if move.before is None else "positions.advance",
            org_id=org_id,
            consumer=batch.consumer,
            stream=move.stream,
            before=move.before,
            after=move.after,
        )
        if not moved:
            raise PositionLost(
                f"the position of consumer {batch.consumer!r} in {move.stream!r} is no longer "
                f"{move.before or 'unset'}: another process advanced it; resume from the stored one"
            )


async def _write_whole(conn: Connection, org: OrgContext, received: Sequence[Received]) -> Ingested:
    lineage = await org.lineage(conn)  # outside the try: its errors are not the deliveries' fault
    try:
        return await _write(conn, org.id, lineage, received)
    except IdempotencyConflict:
        raise  # only manual requests have keys, and their caller receives the error
    except Exception as error:
        if is_due_to_data(error):
            raise _Faulty from error
        raise


async def _write_halving(
    conn: Connection, org: OrgContext, received: Sequence[Received]
) -> Ingested:
    """Write invalidations; on a data error, reject the faulty deliveries."""
    lineage = await org.lineage(conn)
    try:
        async with conn.transaction():
            return await _write(conn, org.id, lineage, received)
    except Exception as error:
        if not is_due_to_data(error):
            raise
        halves = halved(received)
        if halves is None:
            return Ingested((), tuple(_refusals(received, reason_of(error))))
    first, second = [await _write_halving(conn, org, half) for half in halves]
    return Ingested(
        first.invalidations + second.invalidations,
        first.rejections + second.rejections,
        {**first.by_request, **second.by_request},
    )


async def _write(
    conn: Connection, org_id: UUID, lineage: Lineage, received: Sequence[Received]
) -> Ingested:
    with gc_paused():
        groups = list(by_scope(received))
        earlier = await _earlier_columns(conn, lineage, groups)
        resolved, refused = _resolved(lineage, groups, earlier)
        known, unknown = await _of_known_versions(conn, resolved)
        inserted = await _insert(conn, org_id, coalesce(known))
    return replace(inserted, rejections=(*refused, *unknown))


async def _earlier_columns(
    conn: Connection, lineage: Lineage, groups: Iterable[Sequence[Received]]
) -> Mapping[UUID, Collection[str]]:
    """Map datasets with unknown columns in events to the columns of all their versions."""
    unknown: defaultdict[str, set[str]] = defaultdict(set)
    for received, *_ in groups:
        with suppress(InvalidInput):  # `resolve` rejects unknown datasets
            if columns := unknown_columns(lineage, received):
                unknown[received.event.dataset] |= columns
    if not unknown:
        return {}
    for name, names in unknown.items():
        listed = sorted(names)[:_MOST_LOGGED]
        _log.warning("unknown columns in events", dataset=name, columns=listed)
    ids = [lineage.dataset_named(name).id for name in unknown]
    rows = await fetch(conn, "invalidations.earlier_columns", EarlierColumns, datasets=ids)
    return {row.dataset_uuid: row.columns for row in rows}


def _resolved(
    lineage: Lineage,
    groups: Iterable[Sequence[Received]],
    earlier: Mapping[UUID, Collection[str]],
) -> tuple[list[Resolved], list[Rejection]]:
    resolved: list[Resolved] = []
    refused: list[Rejection] = []
    for events in groups:
        # A manual request with unknown columns is rejected, for the operator to correct.
        is_manual = request_of(events[0]) is not None
        try:
            resolved.append(resolve(lineage, *events, earlier=None if is_manual else earlier))
        except InvalidInput as error:
            refused += _refusals(events, str(error))
    return resolved, refused


async def _of_known_versions(
    conn: Connection, resolved: Sequence[Resolved]
) -> tuple[list[Resolved], list[Rejection]]:
    """Return the events of current or earlier dataset versions, and rejections of the others."""
    others = [events for events in resolved if not events.is_current]
    if not others:
        return list(resolved), []
    rows = await fetch(
        conn,
        "invalidations.known_versions",
        InvalidationId,
        datasets=[events.dataset.id for events in others],
        versions=[events.version for events in others],
    )
    known = {row.id for row in rows}
    refused = [
        refusal
        for events in others
        if events.version not in known
        for refusal in _refusals(
            events.received,
            f"dataset {events.dataset.name!r} has no version {events.version}: "
            "omit it for the current version",
        )
    ]
    return [events for events in resolved if events.is_current or events.version in known], refused


def _refusals(received: Iterable[Received], error: str) -> list[Rejection]:
    return [rejection(delivery, error) for event in received for delivery in event.deliveries]


async def _record_lineage(
    conn: Connection, org: OrgContext, reported: Sequence[ReportedLineage]
) -> list[Rejection]:
    """Record reported lineage; reject the reports that the database refuses because of their data.

    Halves the reports until the refused ones are isolated.
    """
    if not reported:
        return []
    try:
        async with conn.transaction():
            await record_reported_lineage(conn, org, reported)
            return []
    except Exception as error:
        if not is_due_to_data(error):
            raise
        if len(reported) == 1:
            report = reported[0]
            position = f"{report.runs[0]}/{report.names[0].name}"[:MAX_TEXT]
            delivery = Delivery("openlineage", position, msgspec.json.encode(report))
            reason = f"the reported column lineage cannot be stored: {reason_of(error)}"
            return [rejection(delivery, reason)]
    middle = len(reported) // 2
    return [
        *await _record_lineage(conn, org, reported[:middle]),
        *await _record_lineage(conn, org, reported[middle:]),
    ]


async def _insert(
    conn: Connection, org_id: UUID, invalidations: Sequence[CoalescedInvalidation]
) -> Ingested:
    if not invalidations:
        return Ingested((), ())
    rows = [_parameters(invalidation) for invalidation in invalidations]
    written = await fetch(
        conn, "invalidations.insert", InvalidationId, org_id=org_id, invalidations=Jsonb(rows)
    )
    ids = tuple(row.id for row in written)
    requests = {
        invalidation.request: row
        for invalidation, row in zip(invalidations, rows, strict=True)
        if invalidation.request is not None
    }
    if not requests:
        return Ingested(ids, ())
    new = set(ids)
    by_request = {
        position: tuple(row["ids"]) for position, row in requests.items() if row["ids"][0] in new
    }
    if repeated := [row for position, row in requests.items() if position not in by_request]:
        await _check_requests(conn, org_id, repeated)
    return Ingested(ids, (), by_request)


async def _check_requests(
    conn: Connection, org_id: UUID, repeated: Sequence[dict[str, Any]]
) -> None:
    """Raise IdempotencyConflict if an idempotency key was used before with a different request."""
    reused = await fetch_one(
        conn,
        "invalidations.reused_key",
        IdempotencyKey,
        org_id=org_id,
        keys=[row["idempotency_key"] for row in repeated],
        hashes=[row["request_hash"] for row in repeated],
    )
    if reused is not None:
        raise IdempotencyConflict(
            f"idempotency key {reused.key!r} was used before with a different request: "
            "use a new key, or repeat the first request unchanged"
        )


def _parameters(invalidation: CoalescedInvalidation) -> dict[str, Any]:
    return {
        "dataset_uuid": invalidation.dataset,
        "dataset_version": invalidation.version,
        "row_filter": invalidation.rows,
        "reason": invalidation.reason,
        "source_event": invalidation.source_event,
        "columns": None if invalidation.columns is None else sorted(invalidation.columns),
        "events": invalidation.events,
        "idempotency_key": invalidation.key,
        "request_hash": invalidation.request_hash,
        "fingerprint": invalidation.fingerprint,
        "outcome": None if invalidation.is_current else InvalidationOutcome.NOT_CURRENT,
        "ids": [new_id() for _ in invalidation.texts],
        "partition_keys": invalidation.texts,
    }
