"""Three changes to the sources, one for each way in which Knockon comes to know of them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from aiokafka import AIOKafkaProducer

from consumers.manual.request import invalidate
from engine.cli.demo.stage import Stage
from engine.model.event import SourceEvent

WEATHER_TOPIC = "nyc.weather"

Tell = Callable[[Stage, SourceEvent], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Change:
    """A correction of a source's table by ``sql``, and how Knockon hears of it.

    ``tell`` None: the table's own trigger tells. ``way`` says the same for people.
    """

    title: str
    sql: str
    way: str
    event: SourceEvent
    tell: Tell | None = None

    async def make(self, stage: Stage) -> int:
        """Correct the table, then spread the word; returns how many rows were corrected."""
        async with stage.session.connection() as conn:
            rows = (await conn.execute(self.sql.encode())).rowcount
        if self.tell is not None:
            await self.tell(stage, self.event)
        return rows


async def publish(stage: Stage, event: SourceEvent) -> None:
    """Send one of Knockon's own JSON events to the weather's topic."""
    producer = AIOKafkaProducer(bootstrap_servers=stage.broker.bootstrap_servers)
    await producer.start()
    try:
        await producer.send_and_wait(WEATHER_TOPIC, msgspec.json.encode(event))
    finally:
        await producer.stop()


async def request(stage: Stage, event: SourceEvent) -> None:
    """Say by hand that a part of a dataset is stale."""
    async with stage.session.connection() as conn:
        await invalidate(conn, stage.session.scene, event)


CHANGES = (
    Change(
        title="On 8 March, United's late flights were five minutes later than recorded",
        sql="""
            UPDATE nyc.flights SET dep_delay = dep_delay + 5, arr_delay = arr_delay + 5
            WHERE time_hour >= '2013-03-08 00:00 America/New_York'
              AND time_hour < '2013-03-09 00:00 America/New_York'
              AND carrier = 'UA' AND arr_delay > 60
        """,
        way="an UPDATE: the trigger on nyc.flights tells which days, airports and columns it hit",
        event=SourceEvent(dataset="flights"),
    ),
    Change(
        title="On 7 June, the rain gauge at La Guardia showed too little",
        sql="""
            UPDATE nyc.weather SET precip = precip + 0.05
            WHERE time_hour >= '2013-06-07 00:00 America/New_York'
              AND time_hour < '2013-06-08 00:00 America/New_York'
              AND origin = 'LGA'
        """,
        way="a message on the Kafka topic nyc.weather: this day, this airport, its column precip",
        event=SourceEvent(
            dataset="weather",
            partitions=("dt=2013-06-07/origin=LGA",),
            columns=("precip",),
            reason="correction",
            source="demo",
        ),
        tell=publish,
    ),
    Change(
        title="The Boeing 767 with tail number N155DL has 261 seats, not 290",
        sql="UPDATE nyc.planes SET seats = 261 WHERE tailnum = 'N155DL'",
        way="hand, as `knockon invalidate planes --columns seats` does",
        event=SourceEvent(dataset="planes", columns=("seats",), reason="correction", source="demo"),
        tell=request,
    ),
)
