"""Authors: deploy changed DAGs, and earlier versions."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from engine.errors import InvalidDag
from engine.flow.deployment.deploy import deploy
from engine.flow.deployment.undeploy import undeploy
from engine.flow.retention.sweep import sweep
from engine.model.dagfile import parse_dag
from engine.model.event import SourceEvent
from engine.store.database import Connection
from tests.simulation.bounds import declare_bounds
from tests.simulation.bounds_changes import with_other_bounds
from tests.simulation.crashes import ResponseLost
from tests.simulation.dagfile import dag_file
from tests.simulation.dimensions import universe
from tests.simulation.invariants import Broken
from tests.simulation.ledger import Changed, Declared
from tests.simulation.state import SimulationState
from tests.simulation.upstream import Upstream
from tests.simulation.world import Columns, Job, World, topological_order
from tests.simulation.world_changes import (
    with_additional_job,
    with_narrower_source,
    with_other_activation,
    with_other_appearance,
    with_other_code,
    with_other_columns,
    with_other_storage,
    with_other_task_size,
    with_wider_source,
    without_leaf,
    without_wait_for,
    without_windows,
)

_DEPLOYED = "SELECT name, dataset_version FROM current_datasets WHERE org_id = %(org)s"
_REMOVED = """
SELECT name FROM datasets d WHERE org_id = %(org)s
AND NOT EXISTS (SELECT FROM current_datasets c WHERE c.dataset_uuid = d.id)
"""


class Authors:
    """Authors of DAGs; ``earlier`` are the worlds available for rollback."""

    def __init__(self, state: SimulationState, upstream: Upstream) -> None:
        self.state = state
        self.upstream = upstream
        self.earlier: list[World] = []

    async def deploy(self, rng: Random) -> None:
        """Deploy a random change to one of the DAGs."""
        await self._deploy(*self._other_world(rng), rng)

    async def deploy_together(self, rng: Random) -> None:
        """Deploy random changes to several DAGs in one deploy, with the files of some others."""
        before = other = self.state.world
        for _ in range(rng.choice([2, 2, 3, 4])):
            _, other = self._other_world(rng, other)
        dags = [
            dag
            for dag in other.dags
            if dag_file(other, dag) != dag_file(before, dag) or rng.random() < 0.3
        ]
        rng.shuffle(dags)
        if dags:
            await self._deploy_dags("deploy: several DAGs" if dags[1:] else "", other, dags, rng)

    async def deploy_source(self, rng: Random) -> None:
        """Deploy a source with another table, and so in a new dataset version."""
        world = with_other_storage(self.state.world, rng)
        await self._deploy("deploy: source moved", world, rng)

    async def widen_source(self, rng: Random) -> None:
        """Deploy a source with wider bounds."""
        await self._deploy("deploy: source widened", with_wider_source(self.state.world, rng), rng)

    async def narrow_source(self, rng: Random) -> None:
        """Deploy a source with narrower bounds."""
        world = with_narrower_source(self.state.world, rng)
        await self._deploy("deploy: source narrowed", world, rng)

    async def alter_source(self, rng: Random) -> None:
        """Deploy a source with a column added or removed."""
        world = with_other_columns(self.state.world, rng, self.state.world.sources)
        await self._deploy("deploy: column added or removed", world, rng)

    async def change_job(self, rng: Random) -> None:
        """Deploy another definition of a job, preferring jobs following rows."""
        following = [job for job in self.state.world.derived_jobs if job.follows]
        world = with_other_code(self.state.world, rng, following or self.state.world.derived_jobs)
        await self._deploy("deploy: job changed", world, rng)

    async def read_less(self, rng: Random) -> None:
        """Deploy a job that reads one partition instead of a window."""
        await self._deploy("deploy: job changed", without_windows(self.state.world, rng), rng)

    async def cut_otherwise(self, rng: Random) -> None:
        """Deploy a job with another number of partitions per task."""
        world = with_other_task_size(self.state.world, rng)
        await self._deploy("deploy: task size changed", world, rng)

    async def activate(self, rng: Random) -> None:
        """Deploy an automatic job as manual, or the reverse."""
        world = with_other_activation(self.state.world, rng)
        await self._deploy("deploy: activation changed", world, rng)

    async def appear_otherwise(self, rng: Random) -> None:
        """Deploy a job whose partitions come into being at another time."""
        world = with_other_appearance(self.state.world, rng)
        await self._deploy("deploy: appearance changed", world, rng)

    async def bound_otherwise(self, rng: Random) -> None:
        """Deploy other bounds or key lists."""
        world, before = with_other_bounds(self.state.world, rng), {**self.state.versions}
        await self._deploy("deploy: bounds changed", world, rng)
        # Outputs of `append` jobs start anew if an input loses partitions.
        if self.state.is_calm and not any(job.append for job in world.jobs):
            replaced = {name for name, now in self.state.versions.items() if now != before[name]}
            if replaced:
                raise Broken("minimal: other bounds keep dataset versions", sorted(replaced))

    async def roll_back(self, rng: Random) -> None:
        """Deploy an earlier version."""
        await self._deploy("deploy: rollback", self._rollback(self.state.world, rng), rng)

    async def redeploy(self, rng: Random) -> None:
        """Undeploy a DAG that no other DAG reads, and deploy its file again."""
        world = self.state.world
        dags = [dag for dag in world.dags if not _is_read_elsewhere(world, dag)]
        if not dags:
            return
        dag, org = rng.choice(dags), self.state.org_context(rng)
        parsed = parse_dag(json.dumps(dag_file(world, dag)), where=f"{dag}.yaml")

        async def work(conn: Connection) -> bool:
            await undeploy(conn, org, dag)
            return (await deploy(conn, org, [parsed])).dags[0].is_restored

        await self.state.retain()
        is_restored = await self.state.do("redeploy", work)
        self.state.log_line(f"redeploy {dag}", "redeploys")
        self.state.counts["restored"] += is_restored
        await self._activate(world)

    async def sweep(self, rng: Random) -> None:
        """Remove all versions that are not current.

        Not while a removed dataset may come back: its partitions are kept for the period only.
        """
        org = self.state.org_context(rng)
        if await self.state.rows(_REMOVED):
            return

        async def work(conn: Connection) -> None:
            while await sweep(conn, org, 0) is not None:
                self.state.counts["sweeps"] += 1

        self.state.log_line("sweep")
        await self.state.do("sweep", work)

    async def _deploy(self, label: str, other: World, rng: Random) -> None:
        dags = [d for d in other.dags if dag_file(other, d) != dag_file(self.state.world, d)]
        if dags:
            await self._deploy_dags(label, other, [rng.choice(dags)], rng)

    async def _deploy_dags(
        self, label: str, other: World, dags: Sequence[str], rng: Random
    ) -> None:
        world = _with_dags(self.state.world, dags, other)
        moved, is_deployed = [*self._moved(world, rng), *self._altered(world)], False
        try:
            is_deployed = await self._deployed(world, dags, rng)
        finally:
            if not is_deployed:
                self.upstream.unpublished += moved
        if is_deployed:
            # Another DAG may have been deployed during the deploy.
            before = self.state.world
            self.earlier.append(before)
            await self._activate(_with_dags(before, dags, world))
            self.state.counts.update(filter(None, [label, "deploys"]))

    def _moved(self, world: World, rng: Random) -> list[SourceEvent]:
        """Change the rows of moved sources; returns events for a failed deploy."""
        moved = [job for job in world.sources if self._has_moved(job)]
        for job in moved:
            self.upstream.edits.replace_rows(rng, job)
        return [SourceEvent(dataset=job.outputs[0].name, reason="change") for job in moved]

    def _altered(self, world: World) -> list[SourceEvent]:
        """Alter the rows of sources with changed columns; returns events for a failed deploy."""
        events = []
        for job in world.sources:
            (output,), before = job.outputs, self.state.world.producers.get(job.outputs[0].name)
            if before is not None and (other := {*before.outputs[0].columns} ^ {*output.columns}):
                self.upstream.edits.alter_rows(job, other)
                events.append(SourceEvent(dataset=output.name, reason="schema_change"))
        return events

    def _has_moved(self, job: Job) -> bool:
        before = self.state.world.by_name.get(job.name)
        return before is not None and before.salt != job.salt

    async def deploy_calmly(self, world: World) -> None:
        """Deploy all DAGs; for mutual readers, deploy part of a DAG before the other."""
        deployed: tuple[Job, ...] = ()
        while len(deployed) < len(world.jobs):
            for dag in world.dags:
                part = _deployable(world, deployed, dag)
                if len(part) > len(deployed):
                    assert await self._deployed(World(part), [dag], None)
                    deployed = part
        await self._activate(world)

    async def _deployed(self, world: World, dags: Sequence[str], rng: Random | None) -> bool:
        self.state.log_line(f"deploy {', '.join(dags)}: {self._difference(world)}")
        parsed = [parse_dag(json.dumps(dag_file(world, dag)), where=f"{dag}.yaml") for dag in dags]
        org = self.state.org_context(rng)
        await self.state.retain()
        try:
            await self.state.do("deploy", lambda conn: deploy(conn, org, parsed), rng)
        except ResponseLost:
            return True
        except InvalidDag as error:
            if rng is None:
                raise
            self.state.log_line(f"… refused: {error}", "deploy refused")
            return False
        return True

    async def _activate(self, world: World) -> None:
        before, self.state.world = self.state.world, world
        rows = await self.state.rows(_DEPLOYED)
        deployed, previous = (
            {row["name"]: row["dataset_version"] for row in rows},
            self.state.versions,
        )
        self.state.versions = deployed
        replaced = {name for name in deployed if deployed[name] != previous.get(name)}
        for dataset in sorted(replaced):
            self.upstream.republish_versioned(dataset)
        for job in world.jobs:
            self._declare_deployed(job, before, replaced)
        declare_bounds(self.state, before, replaced, self.state.before_deploy)
        self.upstream.drop_removed()

    def _declare_deployed(self, job: Job, before: World, replaced: set[str]) -> None:
        """Declare changes by a deploy, except for outputs rebuilt from scratch."""
        now, ledger, name = self.state.now, self.state.ledger, job.outputs[0].name
        previous = before.by_name.get(job.name)
        if job.is_source:
            # Events were rejected while the source was removed, as are those out of its bounds.
            if previous is None or {*universe(previous.space)} - {*universe(job.space)}:
                self.upstream.announce_again(job)
            if previous is not None:
                for columns in _changed_by_deploy(previous, job):
                    ledger.declared[name].append(Declared(now, None, columns))
                    keys = universe(job.space)
                    ledger.changed[name] += [Changed(now, key, columns) for key in keys]
            return
        if name in replaced:
            self.state.decisions.drop([job.name])
        reads_replaced = any(
            r.dataset in replaced and r.dataset in before.producers for r in job.reads
        )
        is_resized = previous is not None and previous.per_task != job.per_task
        # A job made manual still runs its existing tasks.
        changes_activation = previous is not None and previous.is_manual != job.is_manual
        if name not in replaced and (reads_replaced or is_resized or changes_activation):
            ledger.wrong[name].append(Declared(now, None, None))

    def _difference(self, world: World) -> str:
        return ", ".join(sorted({job.name for job in {*world.jobs} ^ {*self.state.world.jobs}}))

    def _other_world(self, rng: Random, world: World | None = None) -> tuple[str, World]:
        variants: dict[str, tuple[int, Callable[[World, Random], World]]] = {
            "rollback": (20, self._rollback),
            "job or source removed": (15, without_leaf),
            "job added": (20, with_additional_job),
            "task size changed": (15, with_other_task_size),
            "wait_for removed": (15, without_wait_for),
            "activation changed": (10, with_other_activation),
            "job changed": (25, with_other_code),
            "source moved": (10, with_other_storage),
            "source widened": (10, with_wider_source),
            "source narrowed": (5, with_narrower_source),
            "column added or removed": (15, with_other_columns),
        }
        variant = rng.choices([*variants], [weight for weight, _ in variants.values()])[0]
        return f"deploy: {variant}", variants[variant][1](world or self.state.world, rng)

    def _rollback(self, world: World, rng: Random) -> World:
        """Return an earlier world, but with current source bounds, since rows fill these bounds."""
        earlier = rng.choice(self.earlier) if self.earlier else world
        spaces = {job.name: job.space for previous in self.earlier for job in previous.sources}
        spaces |= {job.name: job.space for job in world.sources}
        for job in earlier.sources:
            earlier = earlier.replacing(replace(job, space=spaces[job.name]))
        return earlier


def _with_dags(world: World, dags: Sequence[str], other: World) -> World:
    """Return a world with some DAGs as defined in another one."""
    jobs = [job for job in world.jobs if job.dag not in dags]
    return World(topological_order([*jobs, *(job for job in other.jobs if job.dag in dags)]))


def _is_read_elsewhere(world: World, dag: str) -> bool:
    outputs = {output.name for job in world.jobs if job.dag == dag for output in job.outputs}
    return any(
        read.dataset in outputs for job in world.jobs if job.dag != dag for read in job.reads
    )


def _deployable(world: World, deployed: Sequence[Job], dag: str) -> tuple[Job, ...]:
    """Return the deployed jobs, and the jobs of a DAG whose inputs are all deployed."""
    part = [*deployed]
    produced = {output.name for job in part for output in job.outputs}
    for job in world.jobs:
        needed = {read.dataset for read in job.upstream_reads}
        if job.dag == dag and job not in part and needed <= produced:
            part.append(job)
            produced |= {output.name for output in job.outputs}
    return tuple(part)


def _changed_by_deploy(previous: Job, job: Job) -> list[Columns]:
    """Return the columns of a source declared changed in all partitions by a deploy."""
    other = {*previous.outputs[0].columns} ^ {*job.outputs[0].columns}
    return [None] * (previous.salt != job.salt) + [frozenset(other)] * bool(other)
