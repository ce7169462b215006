"""Three changes to the sources, one for each way in which Knockon comes to know of them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from aiokafka import AIOKafkaProducer

from engine.cli.demo.stage import Stage
from engine.model.event import SourceEvent
from engine.service.commands.invalidations import invalidate

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
    await invalidate(stage.session.caller(), stage.session.service, event)


CHANGES = (
    Change(
        title="On 16 January, United's late flights were five minutes later than recorded",
        sql="""
            UPDATE nyc.flights SET dep_delay = dep_delay + 5, arr_delay = arr_delay + 5
            WHERE time_hour >= '2013-01-16 00:00 America/New_York'
              AND time_hour < '2013-01-17 00:00 America/New_York'
              AND carrier = 'UA' AND arr_delay > 60
        """,
        way="the table's trigger, with the days, airports and columns that the UPDATE touched",
        event=SourceEvent(dataset="flights"),
    ),
    Change(
        title="On 8 January, the rain gauge at La Guardia was blocked in the afternoon",
        sql="""
            UPDATE nyc.weather SET precip = 0.12
            WHERE time_hour >= '2013-01-08 14:00 America/New_York'
              AND time_hour < '2013-01-08 18:00 America/New_York'
              AND origin = 'LGA'
        """,
        way="a message on the Kafka topic nyc.weather: that day, that airport, column precip",
        event=SourceEvent(
            dataset="weather",
            partitions=("dt=2013-01-08/origin=LGA",),
            columns=("precip",),
            reason="correction",
            source="demo",
        ),
        tell=publish,
    ),
    Change(
        title="Tail number N394AA is no sports plane with 2 seats, but a Boeing 767 with 330",
        sql="UPDATE nyc.planes SET seats = 330 WHERE tailnum = 'N394AA'",
        way="hand, as 'knockon invalidate planes --columns seats' does",
        event=SourceEvent(dataset="planes", columns=("seats",), reason="correction", source="demo"),
        tell=request,
    ),
)
"""All in January, so that they hit whatever part of the year is loaded."""
