"""The oracle detects violations."""

import pytest

from tests.faults.harness import SERVICES, Harness
from tests.faults.oracle import assert_matches_produced
from tests.faults.producer import ProducedMessage

_ONE = "SELECT min(id::text)::uuid FROM data_invalidations WHERE columns = '{amount}'"
_CORRUPTIONS = {
    f"DELETE FROM data_invalidations WHERE id = ({_ONE})": "is covered by",
    f"""INSERT INTO data_invalidations (id, dataset_uuid, dataset_version, scope, partition_key,
            reason, source_event, columns, org_id)
        SELECT gen_random_uuid(), dataset_uuid, dataset_version, scope, partition_key, reason,
            source_event || '{{"again": true}}', columns, org_id
        FROM data_invalidations WHERE id = ({_ONE})""": "recorded twice",
}


async def test_lost_duplicated_and_invented_invalidations_are_detected(harness: Harness) -> None:
    harness.services.start(*SERVICES)
    await harness.produce(400)
    await harness.assert_consistent()
    log = harness.producer.log
    with harness.connect() as conn:
        for statement, error in _CORRUPTIONS.items():
            with conn.transaction(force_rollback=True):
                assert conn.execute(statement.encode()).rowcount == 1
                with pytest.raises(AssertionError, match=error):
                    assert_matches_produced(conn, log)
        with pytest.raises(AssertionError, match="is covered by"):
            assert_matches_produced(conn, with_unrecorded_message(log))
        with pytest.raises(AssertionError, match="not produced"):
            assert_matches_produced(conn, without_messages_of_one_partition(log))


def with_unrecorded_message(log: list[ProducedMessage]) -> list[ProducedMessage]:
    """The log with an additional message that no invalidation records."""
    message = next(message for message in log if message.scope)
    return [*log, message._replace(offset=max(logged.offset for logged in log) + 1)]


def without_messages_of_one_partition(log: list[ProducedMessage]) -> list[ProducedMessage]:
    """The log without the messages of one partition that invalidations record."""
    message = next(message for message in log if message.scope)
    assert message.scope is not None
    removed = message.scope.partitions
    return [item for item in log if not (item.scope and item.scope.partitions & removed)]
