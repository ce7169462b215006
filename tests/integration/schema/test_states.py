"""The closed vocabularies in Python equal the CHECK constraints of the migrated schema."""

import re
from collections.abc import Iterable

import psycopg
import pytest

from engine.model.invalidation import OwnReason
from engine.model.states import (
    FINISHED_STATUSES,
    PENDING_STATUSES,
    UNFINISHED_STATUSES,
    Activation,
    AttemptOutcome,
    DeployKind,
    EventKind,
    ExecutionStrategy,
    GrantSource,
    InvalidationOutcome,
    PauseKind,
    PlanState,
    Reason,
    Receiver,
    Role,
    ScopeKind,
    StaleDecisionKind,
    TaskStatus,
    UpdateStrategy,
)

VOCABULARIES: dict[str, Iterable[str]] = {
    "users.role": Role,
    "users.source": GrantSource,
    "org_role_memberships.source": GrantSource,
    "plans.state": PlanState,
    "tasks.status": TaskStatus,
    "task_attempts.outcome": AttemptOutcome,
    "events.kind": EventKind,
    "tasks_history.status": FINISHED_STATUSES,
    "stale_decisions.decision": StaleDecisionKind,
    "pauses.kind": PauseKind,
    "dag_deploys.kind": DeployKind,
    "webhooks.receiver": Receiver,
    "jobs.activation": Activation,
    "jobs.execution_strategy": ExecutionStrategy,
    "jobs.update_strategy": UpdateStrategy,
    "data_invalidations.reason": (*Reason, *OwnReason),
    "data_invalidations.scope": ScopeKind,
    "data_invalidations.outcome": InvalidationOutcome,
}
_CHECKS = """
SELECT c.conrelid::regclass::text || '.' || a.attname, pg_get_constraintdef(c.oid)
FROM pg_constraint c
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
WHERE c.contype = 'c' AND c.connamespace = 'knockon'::regnamespace AND cardinality(c.conkey) = 1
  AND pg_get_constraintdef(c.oid) LIKE '%ANY%'
"""


def _checks(url: str) -> dict[str, set[str]]:
    with psycopg.connect(url) as conn:
        conn.execute("SET search_path = knockon")
        rows = conn.execute(_CHECKS).fetchall()
    return {name: set(re.findall(r"'([^']*)'::text", text)) for name, text in rows}


@pytest.mark.parametrize("column", VOCABULARIES)
def test_an_enum_has_the_members_of_its_check(database_url: str, column: str) -> None:
    assert _checks(database_url)[column] == {*VOCABULARIES[column]}


def test_every_vocabulary_of_the_schema_has_an_enum(database_url: str) -> None:
    assert _checks(database_url).keys() == VOCABULARIES.keys()


def test_statuses_are_either_unfinished_or_finished() -> None:
    assert {*UNFINISHED_STATUSES} | {*FINISHED_STATUSES} == {*TaskStatus}
    assert not {*UNFINISHED_STATUSES} & {*FINISHED_STATUSES}
    assert {*PENDING_STATUSES} < {*UNFINISHED_STATUSES}
