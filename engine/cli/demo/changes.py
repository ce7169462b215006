"""Three changes of the sources, one for each way to report changes to Knockon."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from aiokafka import AIOKafkaProducer

from engine.cli.demo.stage import Stage
from engine.model.event import SourceEvent
from engine.model.states import Reason
from engine.service.commands.invalidations import invalidate

WEATHER_TOPIC = "nyc.weather"

Report = Callable[[Stage, SourceEvent], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Change:
    """A correction of a source table by ``sql``, reported by ``report``.

    Without ``report``, the trigger of the table captures the change. ``reported_by`` describes the
    report for people.
    """

    title: str
    sql: str
    reported_by: str
    event: SourceEvent
    report: Report | None = None

    async def make(self, stage: Stage) -> int:
        """Correct the table, report the change, and return the number of corrected rows."""
        async with stage.session.connection() as conn:
            rows = (await conn.execute(self.sql.encode())).rowcount
        if self.report is not None:
            await self.report(stage, self.event)
        return rows


async def publish(stage: Stage, event: SourceEvent) -> None:
    """Send an event in Knockon's JSON format to the topic of the weather."""
    producer = AIOKafkaProducer(bootstrap_servers=stage.broker.bootstrap_servers)
    await producer.start()
    try:
        await producer.send_and_wait(WEATHER_TOPIC, msgspec.json.encode(event))
    finally:
        await producer.stop()


async def request(stage: Stage, event: SourceEvent) -> None:
    """Invalidate part of a dataset, like `knockon invalidate`."""
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
        reported_by="the table's trigger, with the days, airports and columns of the UPDATE",
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
        reported_by="a message on the topic nyc.weather: one day, one airport, column precip",
        event=SourceEvent(
            dataset="weather",
            partitions=("dt=2013-01-08/origin=LGA",),
            columns=("precip",),
            reason=Reason.CORRECTION,
            source="demo",
        ),
        report=publish,
    ),
    Change(
        title="Tail number N394AA is a Boeing 767 with 330 seats, not a sports plane with 2",
        sql="UPDATE nyc.planes SET seats = 330 WHERE tailnum = 'N394AA'",
        reported_by="an operator, as with 'knockon invalidate planes --columns seats'",
        event=SourceEvent(
            dataset="planes", columns=("seats",), reason=Reason.CORRECTION, source="demo"
        ),
        report=request,
    ),
)
"""All changes are in January, the month included in every load."""
