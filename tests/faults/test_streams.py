"""Faults of a Kafka topic, its messages, its group and its broker's responses."""

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from tests.faults.harness import (
    EVENTS,
    LOCK_WAITERS,
    PARTITIONS,
    POSITIONS,
    SERVICES,
    Harness,
    long_run_only,
    rounds,
)
from tests.faults.producer import Producer, producing
from tests.faults.workload import Message, poison
from tests.support.apache_kafka import ApacheKafka
from tests.support.kafka import delete_topic

_GROUP = "knockon.default"
_RAISE_ONCE = """
from consumers.kafka.membership import Membership
taken, {method}s = Membership.{method}, 0
def raising(self, partitions):
    global {method}s
    {method}s += 1
    if {method}s <= 1:
        raise RuntimeError("an error in a callback")
    taken(self, partitions)
Membership.{method} = raising
"""


@long_run_only
async def test_kill_between_the_two_commits_ingests_nothing_twice(
    harness: Harness, kafka: ApacheKafka
) -> None:
    harness.services.start(*SERVICES)
    await harness.produce(50)
    await harness.wait_until_idle()
    for _ in range(rounds(1)):
        await die_between_commits(harness, kafka)
        harness.services.start("consume")
        await harness.assert_consistent()


async def die_between_commits(harness: Harness, kafka: ApacheKafka) -> None:
    """Commit to the database only: the broker does not respond until the consumer is dead."""
    with harness.connect() as holding, holding.transaction():
        # Not the table, to which the engine writes the time of its checks.
        holding.execute("SELECT FROM consumer_positions WHERE stream LIKE 'kafka/%' FOR UPDATE")
        await harness.produce(50)
        await harness.until(lambda: harness.scalar(LOCK_WAITERS) > 0)
        before = stored(harness)
        kafka.freeze()
    await harness.until(lambda: stored(harness) != before)
    harness.services.kill("consume")
    await asyncio.to_thread(kafka.kill)  # with the commit in its socket buffer
    await asyncio.to_thread(kafka.start)
    at_broker = await committed(kafka)
    positions = stored(harness).items()
    missed = [stream for stream, position in positions if at_broker.get(stream, 0) < position]
    assert missed
    harness.count("kills")
    harness.count("partitions whose commit the broker missed", len(missed))


def stored(harness: Harness) -> dict[str, int]:
    return dict(harness.rows(POSITIONS))


async def committed(kafka: ApacheKafka) -> dict[str, int]:
    admin = AIOKafkaAdminClient(**kafka.connection)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(_GROUP)
    finally:
        await admin.close()
    return {f"kafka/{p.topic}/{p.partition}": committed.offset for p, committed in offsets.items()}


@long_run_only
async def test_repeated_rebalances_lose_no_message(harness: Harness) -> None:
    harness.services.start("engine", "worker", "consume")
    for n in range(rounds(4)):
        harness.services.start(f"consume-{n}")
        await harness.produce(harness.rng.randrange(1, 100))
        await asyncio.sleep(harness.rng.uniform(0, 2))  # a random moment
        members = [name for name in harness.services.running if name.startswith("consume")]
        if len(members) > 2:
            harness.services.kill(harness.rng.choice(members))
            harness.count("kills")
        harness.count("joins")
    await harness.assert_consistent()


@long_run_only
@pytest.mark.parametrize("method", ["on_partitions_assigned", "on_partitions_revoked"])
async def test_rebalance_callback_raises(harness: Harness, method: str) -> None:
    harness.services.start("engine", "worker")
    harness.services.start("consume", patch=_RAISE_ONCE.format(method=method))
    await harness.until(lambda: harness.services.logged("consume", "reading topics"))
    await harness.produce(50)
    harness.services.start("consume-2")  # joins the group and triggers a rebalance
    await harness.produce(50)
    await harness.assert_consistent()
    assert harness.services.logged("consume", "an error in a callback")
    harness.observations["raised"] = method


async def test_shuffled_triplicates_are_ingested_once(harness: Harness) -> None:
    messages = harness.workload.change(rounds(200))
    with harness.connect() as conn:
        harness.workload.save(conn)
    messages *= 3
    harness.rng.shuffle(messages)
    await harness.producer.send(messages)
    harness.observations |= {"messages": len(messages), "copies": 3}
    harness.services.start(*SERVICES)
    await harness.assert_consistent()


async def test_poison_messages_tombstones_and_ten_megabytes(harness: Harness) -> None:
    harness.services.start(*SERVICES)
    for _ in range(rounds(1)):
        messages = harness.workload.change(50)
        await harness.until(harness.saved)
        bad = [*poison(harness.rng), large(messages[0])]
        mixed = [*messages, *bad]
        harness.rng.shuffle(mixed)
        await harness.producer.send(mixed)
        harness.count("messages", len(mixed))
        harness.count("poison messages", len(bad))
    await harness.assert_consistent()
    sizes = harness.rows("SELECT octet_length(payload) FROM dead_letters")
    harness.observations["dead letters"] = len(sizes)
    assert max(size for (size,) in sizes) > 10_000_000


def large(message: Message) -> Message:
    """The same message with 10 MB of unused content, above the size limit of a message."""
    value = (message.value or b"")[:-1] + b',"more":"' + b"x" * 10_000_000 + b'"}'
    return message._replace(value=value, scope=None, is_poison=True)


@long_run_only
async def test_messages_deleted_by_the_broker_raise_an_alarm(
    harness: Harness, kafka: ApacheKafka
) -> None:
    harness.services.start(*SERVICES)
    await harness.produce(100)
    await harness.assert_consistent()
    harness.services.kill("consume")
    read = dict(harness.producer.ends)
    await harness.produce(100)
    await harness.producer.read_back()
    ends = {p: end for p, end in harness.producer.ends.items() if end > read[p]}
    await delete_records(kafka, ends)
    drop_from_log(harness.producer, read)
    harness.services.start("consume")
    lost = [f"{_stream(p)} {read[p]}..{end - 1}" for p, end in ends.items()]
    await harness.wait_until_idle()
    # The remedy in the alarm.
    harness.services.call("invalidate", "orders", "-p", "dt=2026-01-01..2026-01-31")
    await harness.assert_consistent(*lost)
    assert harness.services.logged("consume", "messages lost")
    harness.observations |= {
        "messages lost": sum(ends[p] - read[p] for p in ends),
        "alarms": len(lost),
    }


def drop_from_log(producer: Producer, read: dict[TopicPartition, int]) -> None:
    """Remove deleted messages from the expected log."""
    first = {_stream(partition): offset for partition, offset in read.items()}
    producer.log = [message for message in producer.log if message.offset < first[message.stream]]


async def delete_records(kafka: ApacheKafka, before: dict[TopicPartition, int]) -> None:
    admin = AIOKafkaAdminClient(**kafka.connection)
    await admin.start()
    try:
        await admin.delete_records({p: RecordsToDelete(n) for p, n in before.items()})
    finally:
        await admin.close()


def _stream(partition: TopicPartition) -> str:
    return f"kafka/{partition.topic}/{partition.partition}"


@long_run_only
@pytest.mark.parametrize("changes", [20, 800], ids=["shorter", "longer"])
@pytest.mark.parametrize("is_consuming", [False, True], ids=["no consumer", "frozen consumer"])
async def test_recreated_topic_raises_an_alarm(
    harness: Harness, kafka: ApacheKafka, changes: int, is_consuming: bool
) -> None:
    harness.services.start(*SERVICES)
    await harness.produce(100)
    await harness.assert_consistent()
    (harness.services.freeze if is_consuming else harness.services.kill)("consume")
    old = stored(harness)
    await delete_topic(kafka, harness.producer.topic)
    harness.rows("DELETE FROM data_invalidations")  # compared with the old log already
    async with producing(kafka, harness.producer.topic, PARTITIONS) as harness.producer:
        await harness.produce(changes)
        (harness.services.thaw if is_consuming else harness.services.start)("consume")
        await harness.assert_consistent(*(f"{stream} {offset}.." for stream, offset in old.items()))
    assert harness.services.logged("consume", "messages lost")
    harness.observations["alarms"] = len(old)


async def test_a_million_changes_invalidate_exactly_the_changed_partitions(
    harness: Harness, kafka: ApacheKafka
) -> None:
    """With EVENTS changes, while consumers and the broker are killed."""
    harness.services.start(*SERVICES, "consume-2")
    kills = rounds(4)
    for n in range(kills):
        producing = asyncio.create_task(produce_in_batches(harness, EVENTS // kills))
        await asyncio.sleep(harness.rng.uniform(0, 3))  # a random moment
        if n % 4 == 3:
            await asyncio.to_thread(kafka.kill)
            await asyncio.to_thread(kafka.start)
            harness.count("kills of Kafka")
        else:
            harness.services.restart(harness.rng.choice(("consume", "consume-2")))
            harness.count("kills of consumers")
        await producing
    await harness.assert_consistent()


async def produce_in_batches(harness: Harness, changes: int) -> None:
    for _ in range(0, changes, 5000):
        await harness.produce(min(5000, changes))
