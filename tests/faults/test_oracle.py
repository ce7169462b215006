"""The oracle detects violations."""

import pytest

from tests.faults.ledger import Produced
from tests.faults.oracle import assert_as_produced
from tests.faults.scene import SERVICES, Scene

_ONE = "SELECT min(id::text)::uuid FROM data_invalidations WHERE columns = '{amount}'"
_SPOILS = {
    f"DELETE FROM data_invalidations WHERE id = ({_ONE})": "is covered by",
    f"""INSERT INTO data_invalidations (id, dataset_uuid, dataset_version, scope, partition_key,
            reason, source_event, columns, org_id)
        SELECT gen_random_uuid(), dataset_uuid, dataset_version, scope, partition_key, reason,
            source_event || '{{"again": true}}', columns, org_id
        FROM data_invalidations WHERE id = ({_ONE})""": "told twice",
}


async def test_what_is_lost_told_twice_or_made_up_is_noticed(scene: Scene) -> None:
    scene.services.start(*SERVICES)
    await scene.produce(400)
    await scene.assert_right()
    log = scene.producer.log
    with scene.connect() as conn:
        for spoil, said in _SPOILS.items():
            with conn.transaction(force_rollback=True):
                assert conn.execute(spoil.encode()).rowcount == 1
                with pytest.raises(AssertionError, match=said):
                    assert_as_produced(conn, log)
        with pytest.raises(AssertionError, match="is covered by"):
            assert_as_produced(conn, unheard(log))
        with pytest.raises(AssertionError, match="nobody produced"):
            assert_as_produced(conn, unsaid(log))


def unheard(log: list[Produced]) -> list[Produced]:
    """The log with an additional message that is missing in the ledger."""
    told = next(each for each in log if each.scope)
    return [*log, told._replace(offset=max(each.offset for each in log) + 1)]


def unsaid(log: list[Produced]) -> list[Produced]:
    """The log without the messages of one partition that is recorded in the ledger."""
    told = next(each for each in log if each.scope)
    assert told.scope is not None
    return [each for each in log if not (each.scope and each.scope[0] & told.scope[0])]
