"""Two orgs share all processes, which are killed; each is exact, and neither sees the other."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from engine.embedded.broker import Broker
from tests.faults.harness import long_run_only, rounds
from tests.faults.tenants import SHARED, Tenant, Tenants, open_tenants

_POSTED = """
SELECT i.partition_key FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid
JOIN orgs o ON o.id = i.org_id AND o.slug = %s
WHERE d.name = 'posts'
"""
_WRITTEN = """
SELECT v.partition_key, v.task_id IS NOT NULL FROM partition_versions v
JOIN datasets d ON d.id = v.dataset_uuid AND d.name = %s
JOIN orgs o ON o.id = v.org_id AND o.slug = %s
"""
_CROSSING = {
    "tasks of jobs": "tasks t JOIN jobs r ON r.id = t.job_id",
    "attempts at tasks": "task_attempts t JOIN tasks r ON r.id = t.task_id",
    "inputs of tasks": "task_inputs t JOIN tasks r ON r.id = t.task_id",
    "inputs of datasets": "task_inputs t JOIN datasets r ON r.id = t.input_dataset_uuid",
    "dependents": "task_dependencies t JOIN tasks r ON r.id = t.task_id",
    "blockers": "task_dependencies t JOIN tasks r ON r.id = t.depends_on",
    "invalidations": "data_invalidations t JOIN datasets r ON r.id = t.dataset_uuid",
    "partitions": "partition_versions t JOIN datasets r ON r.id = t.dataset_uuid",
    "partitions of tasks": "partition_versions t JOIN tasks r ON r.id = t.task_id",
    "plans": "plans t JOIN data_invalidations r ON r.id = ANY(t.invalidation_ids)",
    "tasks of plans": "tasks t JOIN plans r ON r.id = ANY(t.plan_ids)",
    "jobs": "jobs t JOIN dag_versions r ON r.id = t.dag_version_id",
    "events of tasks": "events t JOIN tasks r ON r.id = t.subject_id",
    "leases": "worker_leases t JOIN tasks r ON r.id = t.task_id",
}
"""Rows with an org and a reference to another row, which is of the same org."""
_STREAMS = """
SELECT o.slug, p.stream FROM consumer_positions p JOIN orgs o ON o.id = p.org_id
WHERE p.stream LIKE 'kafka/%'
"""


@pytest.fixture
async def tenants(
    seed: str, kafka: Broker, database_url: str, tmp_path: Path, report: dict[str, object]
) -> Any:
    async with open_tenants(seed, database_url, kafka, tmp_path) as tenants:
        for tenant in tenants.every:
            tenant.harness.observations = report
        yield tenants


@long_run_only
async def test_two_orgs_on_shared_processes_that_are_killed(tenants: Tenants) -> None:
    first, second = tenants.every
    rng = first.harness.rng
    tenants.services.start(*SHARED)
    for tenant in tenants.every:
        tenants.workers.start(tenant.harness.org, tenant.worker_key)
    for _ in range(rounds(4)):
        working = [
            asyncio.create_task(work(tenant, rng.randrange(1, 100), rng.randrange(20, 60)))
            for tenant in tenants.every
        ]
        await asyncio.sleep(rng.uniform(0, 1))  # a random moment
        for victim in ("serve", rng.choice(SHARED[:-1])):
            tenants.services.restart(victim)
            first.harness.count(f"kills of {victim}")
        tenants.restart_worker(rng.choice(tenants.every))
        first.harness.count("kills of HTTP workers")
        await asyncio.gather(*working)
    for tenant in (first, second):
        await assert_exact(tenant)
    assert_separate(tenants)
    assert_mixtures_are_noticed(second)


@long_run_only
async def test_a_flooding_org_does_not_delay_another(tenants: Tenants) -> None:
    """By the order of work: the small org is done while most of the flood is still open."""
    flood, small = tenants.every
    messages = flood.harness.workload.change(rounds(3_000))
    flood.harness.saved()
    await flood.harness.producer.send(messages)
    tenants.services.start(*SHARED)
    for tenant in tenants.every:
        tenants.workers.start(tenant.harness.org, tenant.worker_key)
    flooding = asyncio.create_task(flood.poster.post(rounds(300)))
    await work(small, changes=5, posts=1)
    assert len(flood.poster.acknowledged) < rounds(300)
    await small.harness.until(lambda: len(written(small, "seen")) == 1)
    await small.harness.until(lambda: len(written(small, "by_region")) > 0)
    open_posts = rounds(300) - len(written(flood, "seen"))
    assert open_posts > rounds(300) / 4
    flood.harness.observations["posts of the flood still open"] = open_posts
    await flooding
    for tenant in tenants.every:
        await assert_exact(tenant)
    assert_separate(tenants)


async def work(tenant: Tenant, changes: int, posts: int) -> None:
    """Send changes by the topic and by HTTP."""
    await asyncio.gather(tenant.harness.produce(changes), tenant.poster.post(posts))


async def assert_exact(tenant: Tenant) -> None:
    """Each message and post was effective once, and everything is built from it."""
    harness, poster = tenant.harness, tenant.poster
    await harness.assert_consistent()
    posted = Counter(key for (key,) in harness.rows(_POSTED, harness.org))
    assert posted == Counter(poster.acknowledged), "each post is effective exactly once"
    assert written(tenant, "seen") == {*poster.acknowledged}
    changed = set().union(*(each.scope.partitions for each in harness.producer.log if each.scope))
    assert written(tenant, "model") == changed
    audit = harness.services.call("audit", "--org", harness.org, "--json")
    counts = msgspec.json.decode(audit)
    assert (counts["lost"], counts["in_hand"], counts["left"]) == (0, 0, 0)
    harness.count("posts", len(poster.acknowledged))
    harness.count("repeated posts", poster.repetitions)


def written(tenant: Tenant, dataset: str) -> set[str]:
    """The partitions of a dataset written by a task."""
    rows = tenant.harness.rows(_WRITTEN, dataset, tenant.harness.org)
    return {key for key, is_written in rows if is_written}


def assert_separate(tenants: Tenants) -> None:
    """No row of one org refers to a row of the other, and each reads its own topic."""
    first = tenants.every[0].harness
    with first.connect() as conn:
        for name, joined in _CROSSING.items():
            assert _count(conn, f"{joined} WHERE t.org_id <> r.org_id") == 0, name
    topics = {each.harness.org: each.harness.producer.topic for each in tenants.every}
    for org, stream in first.rows(_STREAMS):
        assert stream.split("/")[1] == topics[org]


def assert_mixtures_are_noticed(tenant: Tenant) -> None:
    """A task or an invalidation under the other org would fail the checks above."""
    harness, other = tenant.harness, "(SELECT id FROM orgs WHERE slug = 'default')"
    for table, name in (("tasks", "tasks of jobs"), ("data_invalidations", "invalidations")):
        with harness.connect() as conn, conn.transaction(force_rollback=True):
            moved = "SELECT t.id FROM {} t JOIN orgs o ON o.id = t.org_id AND slug = %s LIMIT 1"
            update = f"UPDATE {table} SET org_id = {other} WHERE id = ({moved.format(table)})"
            assert conn.execute(update.encode(), [harness.org]).rowcount == 1
            assert _count(conn, f"{_CROSSING[name]} WHERE t.org_id <> r.org_id") == 1


def _count(conn: psycopg.Connection[Any], joined: str) -> int:
    [[count]] = conn.execute(f"SELECT count(*) FROM {joined}".encode()).fetchall()
    return int(count)
