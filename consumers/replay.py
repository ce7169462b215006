"""Reading dead letters again, when what was wrong with them, or with us, has been mended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from consumers.formats.knockon import read_events
from consumers.formats.reading import Reader
from consumers.sources import load_sources
from engine.flow.ingest import ingest
from engine.flow.register import register
from engine.flow.scene import Scene
from engine.model.event import Batch, Delivery, Received, Rejection, rejection
from engine.store.database import Connection
from engine.store.run import Row, execute, fetch

_LOST = (
    "its messages cannot be read again: invalidate the datasets of the topic, then "
    "close it with 'knockon dead-letters close'"
)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a letter: ``error`` null where it went through, else why it stays one."""

    id: UUID
    error: str | None
    invalidations: tuple[UUID, ...] = ()


async def replay(conn: Connection, scene: Scene, ids: Sequence[UUID]) -> list[Replayed]:
    """Ingest letters again, all in one transaction; those replayed already are passed over.

    A message is read as its topic is read now. One that cannot be keeps its newest error; messages
    that were lost keep the error that names them.
    """
    async with conn.transaction():
        readers = (await load_sources(conn, scene)).readers(partial(register, conn, scene))
        rows = await fetch(conn, "dead_letters.lock", org_id=scene.org_id, ids=list(ids))
        return [
            Replayed(row["id"], _LOST)
            if row["is_loss"]
            else await _replay(conn, scene, row, await _read(readers, row))
            for row in rows
        ]


async def _read(readers: Mapping[str, Reader], row: Row) -> list[Received] | Rejection:
    letter = Delivery(row["stream"], row["position"], row["payload"], row["headers"])
    kind, _, place = letter.stream.partition("/")
    if kind != "kafka":
        return Reader(read_events).read_again(letter)
    topic = place.rpartition("/")[0]
    if topic not in readers:
        return rejection(letter, f"no deployed DAG reads topic {topic!r}: deploy one that does")
    await readers[topic].prepare([letter.value])
    return readers[topic].read_again(letter)


async def _replay(
    conn: Connection, scene: Scene, row: Row, outcome: list[Received] | Rejection
) -> Replayed:
    if isinstance(outcome, Rejection):
        await execute(conn, "views.dead_letter_error", id=row["id"], error=outcome.error)
        return Replayed(row["id"], outcome.error)
    written = await ingest(conn, scene, Batch(consumer=row["consumer"], received=tuple(outcome)))
    # Of a message with several events, those refused now are letters of their own.
    for each in written.rejections:
        if each.position == row["position"]:
            return Replayed(row["id"], each.error)
    await execute(conn, "dead_letters.replayed", ids=[row["id"]])
    return Replayed(row["id"], None, written.invalidations)
