"""Ingest: source events become durable invalidations, and the consumer's position moves with them.

One transaction a batch. What cannot be used goes to the dead letters; nothing is dropped.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from engine.collector import paused_collector
from engine.errors import InvalidInput, PositionLost
from engine.flow.coalesce import Fact, coalesce
from engine.flow.learn import learn
from engine.flow.resolve import Resolved, by_scope, resolve
from engine.flow.scene import Scene
from engine.lineage.graph import Lineage
from engine.model.event import Advance, Batch, Received, Rejection, rejection
from engine.store.bells import INVALIDATIONS, ring
from engine.store.database import Connection
from engine.store.ids import new_id
from engine.store.run import execute, fetch, fetch_one

Rejected = Callable[[Sequence[Rejection]], Awaitable[None]]
"""Told of what a batch rejects before that is committed, and again if it is written again."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """What a batch came to: ids of the invalidations written, and what was rejected."""

    invalidations: tuple[UUID, ...]
    rejections: tuple[Rejection, ...]


async def ingest(
    conn: Connection, scene: Scene, batch: Batch, rejected: Rejected | None = None
) -> Ingested:
    """Write a batch. Raises PositionLost, having written nothing, if another owner was here.

    ``rejected`` is told of what goes to the dead letters before that is committed.
    """
    async with conn.transaction():
        await _advance(conn, scene.org_id, batch)
        facts, refused = await _facts(conn, scene, batch.received)
        written = await _write(conn, scene.org_id, facts)
        rejections = (*batch.rejections, *refused)
        await bury(conn, scene.org_id, batch.consumer, rejections)
        if rejected and rejections:
            await rejected(rejections)
        await learn(conn, scene, batch.told)
        if written:
            await ring(conn, INVALIDATIONS, scene.org_id)
    return Ingested(tuple(written), rejections)


async def bury(
    conn: Connection, org_id: UUID, consumer: str, rejections: Sequence[Rejection]
) -> None:
    """Keep rejected deliveries as dead letters, to be looked at and replayed."""
    if not rejections:
        return
    async with conn.pipeline():  # thousands at once, where somebody sends nothing else
        for each in rejections:
            await execute(
                conn,
                "dead_letters.insert",
                id=new_id(),
                org_id=org_id,
                consumer=consumer,
                stream=each.stream,
                position=each.position,
                payload=each.payload,
                headers=Jsonb(each.headers),
                error=each.error,
            )


async def _advance(conn: Connection, org_id: UUID, batch: Batch) -> None:
    for move in sorted(batch.advances, key=lambda each: each.stream):
        if not await _moved(conn, org_id, batch.consumer, move):
            raise PositionLost(
                f"consumer {batch.consumer!r} does not find position {move.before!r} of "
                f"{move.stream!r} any more: another owner moved it; resume from the stored one"
            )


async def _moved(conn: Connection, org_id: UUID, consumer: str, move: Advance) -> bool:
    name = "positions.start" if move.before is None else "positions.advance"
    row = await fetch_one(
        conn,
        name,
        org_id=org_id,
        consumer=consumer,
        stream=move.stream,
        before=move.before,
        after=move.after,
    )
    return row is not None


async def _facts(
    conn: Connection, scene: Scene, received: Sequence[Received]
) -> tuple[list[Fact], list[Rejection]]:
    return _coalesced(await scene.lineage(conn), received) if received else ([], [])


@paused_collector()
def _coalesced(
    lineage: Lineage, received: Sequence[Received]
) -> tuple[list[Fact], list[Rejection]]:
    resolved: list[Resolved] = []
    refused: list[Rejection] = []
    for alike in by_scope(received):
        try:
            resolved.append(resolve(lineage, *alike))
        except InvalidInput as error:
            refused += _refusals(alike, error)
    return coalesce(resolved), refused


def _refusals(received: Iterable[Received], error: InvalidInput) -> list[Rejection]:
    return [rejection(delivery, str(error)) for each in received for delivery in each.deliveries]


async def _write(conn: Connection, org_id: UUID, facts: Sequence[Fact]) -> list[UUID]:
    if not facts:
        return []
    written = await fetch(
        conn, "invalidations.insert", org_id=org_id, facts=Jsonb([_said(fact) for fact in facts])
    )
    return [row["id"] for row in written]


def _said(fact: Fact) -> dict[str, Any]:
    return {
        "dataset_uuid": fact.dataset,
        "dataset_version": fact.version,
        "row_filter": fact.rows,
        "reason": fact.reason,
        "source_event": fact.source_event,
        "columns": None if fact.columns is None else sorted(fact.columns),
        "events": fact.events,
        "idempotency_key": fact.key,
        "outcome": None if fact.served else "not_current",
        "ids": [new_id() for _ in fact.texts],
        "partition_keys": fact.texts,
    }
