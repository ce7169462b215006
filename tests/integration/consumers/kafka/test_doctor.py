"""The checks of topics in `knockon doctor`."""

from consumers.run import Consumers, SourceConnections
from engine.service.queries.health import inflow
from tests.support.kafka import on_kafka
from tests.support.worlds import World, job, source

NAME = "knockon.default"


async def lag(world: World, broker) -> str:
    checks = await inflow(world.caller, world.service, broker)
    [detail] = [check.detail for check in checks if check.name == "Kafka lag"]
    return detail


async def test_lag_is_measured_from_stored_positions(database, broker, topic):
    of_topic = source("a", source={"kind": "kafka", "topic": topic.name, "dataset": "a"})
    world = await World.made(database, of_topic, job("b", "a"))
    connections = SourceConnections(
        name=NAME, source_url="", bootstrap_servers=broker.bootstrap_servers
    )
    await topic.send("x", "y", "z")
    assert await lag(world, broker) == "3 messages behind"

    await Consumers(database, world.org, connections).rewind("latest")
    await topic.send("w")
    assert await lag(world, broker) == "1 message behind"


@on_kafka
async def test_a_compacted_topic_is_reported(database, broker, topic):
    of_topic = source("a", source={"kind": "kafka", "topic": topic.name, "dataset": "a"})
    world = await World.made(database, of_topic, job("b", "a"))

    async def reported() -> list[str]:
        checks = await inflow(world.caller, world.service, broker)
        return [check.detail for check in checks if check.name == "compaction"]

    assert await reported() == []
    await topic.configure(broker, **{"cleanup.policy": "compact"})
    assert await reported() == [f"compacted: {topic.name}"]
