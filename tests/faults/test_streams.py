"""Faults of a Kafka topic, its messages, its group and its broker's responses."""

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from tests.faults.ledger import Producer, producing
from tests.faults.orders import Message, poison
from tests.faults.scene import (
    EVENTS,
    PARTITIONS,
    POSITIONS,
    SERVICES,
    WAITING,
    Scene,
    only_at_length,
    rounds,
)
from tests.support.apache_kafka import ApacheKafka
from tests.support.kafka import delete_topic

_GROUP = "knockon.default"
_RAISING = """
from consumers.kafka.membership import Membership
taken, {method}s = Membership.{method}, 0
def raising(self, partitions):
    global {method}s
    {method}s += 1
    if {method}s <= 1:
        raise RuntimeError("a callback of ours")
    taken(self, partitions)
Membership.{method} = raising
"""


@only_at_length
async def test_a_kill_between_the_two_commits_tells_nothing_twice(
    scene: Scene, kafka: ApacheKafka
) -> None:
    scene.services.start(*SERVICES)
    await scene.produce(50)
    await scene.come_to_rest()
    for _ in range(rounds(1)):
        await die_between_commits(scene, kafka)
        scene.services.start("consume")
        await scene.assert_right()


async def die_between_commits(scene: Scene, kafka: ApacheKafka) -> None:
    """Commit to the database only: the broker does not respond until the consumer is dead."""
    with scene.connect() as holding, holding.transaction():
        holding.execute("LOCK TABLE consumer_positions IN EXCLUSIVE MODE")
        await scene.produce(50)
        await scene.until(lambda: scene.one(WAITING) > 0)
        before = stored(scene)
        kafka.freeze()
    await scene.until(lambda: stored(scene) != before)
    scene.services.kill("consume")
    await asyncio.to_thread(kafka.kill)  # with the commit in its socket buffer
    await asyncio.to_thread(kafka.start)
    told = await committed(kafka)
    behind = [
        stream for stream, position in stored(scene).items() if told.get(stream, 0) < position
    ]
    assert behind
    scene.count("kills")
    scene.count("partitions whose commit the broker missed", len(behind))


def stored(scene: Scene) -> dict[str, int]:
    return dict(scene.rows(POSITIONS))


async def committed(kafka: ApacheKafka) -> dict[str, int]:
    admin = AIOKafkaAdminClient(**kafka.connection)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(_GROUP)
    finally:
        await admin.close()
    return {f"kafka/{p.topic}/{p.partition}": each.offset for p, each in offsets.items()}


@only_at_length
async def test_a_storm_of_rebalances_loses_nothing(scene: Scene) -> None:
    scene.services.start("engine", "worker", "consume")
    for n in range(rounds(4)):
        scene.services.start(f"consume-{n}")
        await scene.produce(scene.dice.randrange(1, 100))
        await asyncio.sleep(scene.dice.uniform(0, 2))  # a random moment
        members = [each for each in scene.services.running if each.startswith("consume")]
        if len(members) > 2:
            scene.services.kill(scene.dice.choice(members))
            scene.count("kills")
        scene.count("joins")
    await scene.assert_right()


@only_at_length
@pytest.mark.parametrize("method", ["on_partitions_assigned", "on_partitions_revoked"])
async def test_a_rebalance_callback_that_raises(scene: Scene, method: str) -> None:
    scene.services.start("engine", "worker")
    scene.services.start("consume", patch=_RAISING.format(method=method))
    await scene.until(lambda: scene.services.logged("consume", "reading topics"))
    await scene.produce(50)
    scene.services.start("consume-2")  # joins the group and triggers a rebalance
    await scene.produce(50)
    await scene.assert_right()
    assert scene.services.logged("consume", "a callback of ours")
    scene.seen["raised"] = method


async def test_triplicates_in_any_order_are_each_told_once(scene: Scene) -> None:
    messages = scene.orders.change(rounds(200))
    with scene.connect() as conn:
        scene.orders.save(conn)
    messages *= 3
    scene.dice.shuffle(messages)
    await scene.producer.send(messages)
    scene.seen |= {"messages": len(messages), "copies": 3}
    scene.services.start(*SERVICES)
    await scene.assert_right()


async def test_poison_tombstones_and_ten_megabytes(scene: Scene) -> None:
    scene.services.start(*SERVICES)
    for _ in range(rounds(1)):
        messages = scene.orders.change(50)
        await scene.until(scene.saved)
        bad = [*poison(scene.dice), large(messages[0])]
        mixed = [*messages, *bad]
        scene.dice.shuffle(mixed)
        await scene.producer.send(mixed)
        scene.count("messages", len(mixed))
        scene.count("poisonous", len(bad))
    await scene.assert_right()
    sizes = scene.rows("SELECT octet_length(payload) FROM dead_letters")
    scene.seen["dead letters"] = len(sizes)
    assert max(size for (size,) in sizes) > 10_000_000


def large(message: Message) -> Message:
    """The same message with 10 MB of unread content, above the limit of a message."""
    value = (message.value or b"")[:-1] + b',"more":"' + b"x" * 10_000_000 + b'"}'
    return message._replace(value=value, scope=None, is_poison=True)


@only_at_length
async def test_offsets_that_the_broker_deleted_are_an_alarm(
    scene: Scene, kafka: ApacheKafka
) -> None:
    scene.services.start(*SERVICES)
    await scene.produce(100)
    await scene.assert_right()
    scene.services.kill("consume")
    read = dict(scene.producer.ends)
    await scene.produce(100)
    await scene.producer.read_back()
    ends = {each: end for each, end in scene.producer.ends.items() if end > read[each]}
    await delete_records(kafka, ends)
    forget(scene.producer, read)
    scene.services.start("consume")
    lost = [f"{_stream(each)} {read[each]}..{ends[each] - 1}" for each in ends]
    await scene.come_to_rest()
    # The remedy in the alarm.
    scene.services.call("invalidate", "orders", "-p", "dt=2026-01-01..2026-01-31")
    await scene.assert_right(*lost)
    assert scene.services.logged("consume", "messages lost")
    scene.seen |= {"messages lost": sum(ends[p] - read[p] for p in ends), "alarms": len(lost)}


def forget(producer: Producer, read: dict[TopicPartition, int]) -> None:
    """Remove deleted messages from the expected log."""
    first = {_stream(each): offset for each, offset in read.items()}
    producer.log = [each for each in producer.log if each.offset < first[each.stream]]


async def delete_records(kafka: ApacheKafka, before: dict[TopicPartition, int]) -> None:
    admin = AIOKafkaAdminClient(**kafka.connection)
    await admin.start()
    try:
        await admin.delete_records({p: RecordsToDelete(n) for p, n in before.items()})
    finally:
        await admin.close()


def _stream(partition: TopicPartition) -> str:
    return f"kafka/{partition.topic}/{partition.partition}"


@only_at_length
@pytest.mark.parametrize("changes", [20, 800], ids=["shorter", "longer"])
@pytest.mark.parametrize("is_read", [False, True], ids=["while nobody reads", "while it is read"])
async def test_a_topic_made_anew_is_an_alarm(
    scene: Scene, kafka: ApacheKafka, changes: int, is_read: bool
) -> None:
    scene.services.start(*SERVICES)
    await scene.produce(100)
    await scene.assert_right()
    (scene.services.freeze if is_read else scene.services.kill)("consume")
    old = stored(scene)
    await delete_topic(kafka, scene.producer.topic)
    scene.rows("DELETE FROM data_invalidations")  # compared with the old log already
    async with producing(kafka, scene.producer.topic, PARTITIONS) as scene.producer:
        await scene.produce(changes)
        (scene.services.thaw if is_read else scene.services.start)("consume")
        await scene.assert_right(*(f"{stream} {offset}.." for stream, offset in old.items()))
    assert scene.services.logged("consume", "messages lost")
    scene.seen["alarms"] = len(old)


async def test_a_million_changes_end_in_exactly_what_is_stale(
    scene: Scene, kafka: ApacheKafka
) -> None:
    """With EVENTS changes, while consumers and the broker are killed."""
    scene.services.start(*SERVICES, "consume-2")
    kills = rounds(4)
    for n in range(kills):
        producing = asyncio.create_task(produce_in_pieces(scene, EVENTS // kills))
        await asyncio.sleep(scene.dice.uniform(0, 3))  # a random moment
        if n % 4 == 3:
            await asyncio.to_thread(kafka.kill)
            await asyncio.to_thread(kafka.start)
            scene.count("kills of Kafka")
        else:
            scene.services.restart(scene.dice.choice(("consume", "consume-2")))
            scene.count("kills of consumers")
        await producing
    await scene.assert_right()


async def produce_in_pieces(scene: Scene, changes: int) -> None:
    for _ in range(0, changes, 5000):
        await scene.produce(min(5000, changes))
