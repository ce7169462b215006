"""Operators and authors: handle failed tasks, invalidate partitions, and deploy changed DAGs."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any
from uuid import UUID

import msgspec

from engine.errors import InvalidDag, InvalidInput
from engine.flow.deployment.deploy import deploy
from engine.flow.execution.operator_actions import cancel, retry
from engine.model.dagfile import parse_dag
from engine.model.event import SourceEvent
from tests.simulation.crashes import ResponseLost
from tests.simulation.dagfile import dag_file
from tests.simulation.dimensions import Dimension, Key, read_text, text, universe
from tests.simulation.generate import another_job
from tests.simulation.ledger import Changed, Declared
from tests.simulation.mapping import Read
from tests.simulation.state import SimulationState
from tests.simulation.upstream import Upstream, event_text
from tests.simulation.world import ADDED, GROUP, Columns, Job, Output, World

_FAILED = "SELECT id FROM tasks WHERE org_id = %(org)s AND status = 'failed' ORDER BY id"
_ANY = """
SELECT t.id, t.status, j.name FROM tasks t JOIN jobs j ON j.id = t.job_id
WHERE t.org_id = %(org)s ORDER BY t.id DESC LIMIT 40
"""
_FINISHED = ("succeeded", "skipped", "canceled")
_TASK = """
SELECT j.name, t.partitions, t.status FROM tasks t JOIN jobs j ON j.id = t.job_id
WHERE t.id = %(id)s AND t.org_id = %(org)s
"""
_SERVED = "SELECT name, dataset_version FROM current_datasets WHERE org_id = %(org)s"


class People:
    """Operators and authors; ``earlier`` are the worlds available for rollback."""

    def __init__(self, state: SimulationState, upstream: Upstream) -> None:
        self.state = state
        self.upstream = upstream
        self.earlier: list[World] = []
        self._last_event: SourceEvent | None = None

    # -- operators -----------------------------------------------------------------------------

    async def mend(self, rng: Random) -> None:
        """Retry a failed task, or cancel it and have its partitions rebuilt later."""
        failed = await self.failed()
        try:
            if failed and rng.random() < 0.6:
                await self.retry(rng.choice(failed), rng)
            elif failed:
                await self._cancel(rng.choice(failed), rng)
        except InvalidInput:
            self.state.log_line("… the task is no longer failed")

    async def failed(self) -> list[UUID]:
        return [row["id"] for row in await self.state.rows(_FAILED)]

    async def retry(self, task: UUID, rng: Random | None = None) -> None:
        self.state.log_line("retry a failed task", "failed task retried")
        org = self.state.org_context(rng)
        await self.state.do("retry", lambda conn: retry(conn, org, task), rng)

    async def _cancel(self, task: UUID, rng: Random) -> None:
        """Cancel a task, leaving its partitions stale until a later change or request."""
        (row,) = await self.state.rows(_TASK, id=task)
        label = f"cancel a {row['status']} task"
        self.state.log_line(f"{label}: {row['name']}{row['partitions']}", label)
        org = self.state.org_context(rng)
        job = self.state.world.by_name[row["name"]]
        keys = [key for text_ in row["partitions"] for key in read_text(job.space, text_)]
        try:
            await self.state.do("cancel", lambda conn: cancel(conn, org, task), rng)
        except ResponseLost:
            self.state.decisions.leave(job, keys, self.state.now)
            raise
        self.state.decisions.leave(job, keys, self.state.now)

    async def cancel(self, rng: Random) -> None:
        """Cancel a random task in any state."""
        await self._decide(self._cancel, rng)

    async def cancel_first(self, rng: Random) -> None:
        """Cancel the oldest unfinished task: no unfinished task is upstream."""
        await self._decide(self._cancel, rng, oldest=1)

    async def cancel_newest(self, rng: Random) -> None:
        """Cancel the newest unfinished task: no task waits for it."""
        await self._decide(self._cancel, rng, newest=True)

    async def retry_any(self, rng: Random) -> None:
        """Retry a random task; rejected unless it has failed."""
        await self._decide(self.retry, rng)

    async def _decide(
        self,
        action: Callable[[UUID, Random], Awaitable[None]],
        rng: Random,
        oldest: float = 0.4,
        *,
        newest: bool = False,
    ) -> None:
        """Call an operator action on a random task, preferring unfinished tasks."""
        rows = await self.state.rows(_ANY)
        unfinished = [row for row in rows if row["status"] not in _FINISHED]
        among = unfinished if unfinished and rng.random() < 0.9 else rows
        among = [row for row in among if row["name"] in self.state.world.by_name]
        if not among:
            return
        chosen = among[-1] if rng.random() < oldest else rng.choice(among)
        chosen = among[0] if newest else chosen
        try:
            await action(chosen["id"], rng)
        except InvalidInput as error:
            self.state.log_line(f"… refused: {error}", "operator action refused")

    async def invalidate(self, rng: Random) -> None:
        """Invalidate an output, or edit it and report the edit."""
        await self._invalidate(rng, rng.choice(["manual", "rewritten"]))

    async def wrong(self, rng: Random) -> None:
        """Invalidate an output."""
        await self._invalidate(rng, "manual")

    async def wrong_first(self, rng: Random) -> None:
        """Invalidate an unedited output of the first job."""
        job = self.state.world.derived_jobs[0]
        event = SourceEvent(dataset=job.outputs[0].name, reason="manual")
        self.upstream.unpublished.append(event)
        self.state.log_line(f"invalidate {event_text(event)}", "output invalidated: manual")

    async def rewrite(self, rng: Random) -> None:
        """Report an output as rewritten in place."""
        await self._invalidate(rng, "rewritten")

    async def _invalidate(self, rng: Random, reason: str) -> None:
        if not self.state.world.derived_jobs:
            return
        job = rng.choice(self.state.world.derived_jobs)
        dataset = rng.choice(job.outputs).name
        existing_keys = sorted((await self.state.existing())[dataset])
        if not existing_keys:
            return
        keys = [rng.choice(existing_keys)] if rng.random() < 0.8 else existing_keys
        event = SourceEvent(
            dataset=dataset,
            partitions=None if len(keys) > 1 else (text(job.space, keys[0]),),
            reason=reason,
        )
        if rng.random() < 0.7:
            self._edit(rng, job, dataset, keys)
            if reason == "manual":
                self.state.unannounced[dataset] |= {*keys}
        self._last_event = event
        self.upstream.unpublished.append(event)
        self.state.log_line(
            f"invalidate {event_text(event)}", f"output invalidated: {event.reason}"
        )

    async def remake(self, rng: Random) -> None:
        """Request the rebuild of an output edited or invalidated before."""
        if self._last_event is not None and self._last_event.dataset in self.state.world.producers:
            event = msgspec.structs.replace(self._last_event, reason="manual")
            self.upstream.unpublished.append(event)
            self.state.log_line(f"invalidate {event_text(event)}", "output invalidated: manual")

    def _edit(self, rng: Random, job: Job, dataset: str, keys: Sequence[Key]) -> None:
        """Edit output rows in place; they differ from a recomputation until the next run."""
        (output,) = (candidate for candidate in job.outputs if candidate.name == dataset)
        columns = [column for column in output.columns if column != GROUP]
        data = self.state.warehouse[dataset, self.state.versions[dataset]]
        for key in keys:
            data[key] = {
                n: {**row, **{column: rng.randrange(job.modulus) for column in columns}}
                for n, row in data[key].items()
            }
            self.state.ledger.changed[dataset].append(Changed(self.state.now, key, None))
        self.state.edited[dataset] |= {*keys}
        self.state.decisions.leave(job, keys, self.state.now)
        self.state.log_line(f"edit {dataset}{[*map(list, keys)]}", "output edited in place")

    async def request_excused(self) -> None:
        """Request recomputation of all partitions left stale by decisions."""
        for job, keys in self.state.decisions.outstanding(self.state.world):
            existing_keys = (await self.state.existing())[job.outputs[0].name]
            built = tuple(text(job.space, key) for key in sorted(keys & existing_keys))
            requested = built or tuple(text(job.space, key) for key in sorted(keys))
            event = SourceEvent(
                dataset=job.outputs[0].name,
                partitions=None if job.is_single_run or not job.space else requested,
                reason="manual",
            )
            self.upstream.stream.append(event)
            self.state.log_line(f"request {event_text(event)}")

    # -- authors -------------------------------------------------------------------------------

    async def deploy(self, rng: Random) -> None:
        """Deploy a random change to one of the DAGs."""
        await self._deploy(*self._other_world(rng), rng)

    async def deploy_source(self, rng: Random) -> None:
        """Deploy a source with another table or wider bounds."""
        variants = {"source moved": self._changed_storage, "source widened": self._widened_source}
        variant = rng.choice([*variants])
        await self._deploy(f"deploy: {variant}", variants[variant](rng), rng)

    async def widen_source(self, rng: Random) -> None:
        """Deploy a source with wider bounds."""
        await self._deploy("deploy: source widened", self._widened_source(rng), rng)

    async def narrow_source(self, rng: Random) -> None:
        """Deploy a source with narrower bounds."""
        await self._deploy("deploy: source narrowed", self._narrowed_source(rng), rng)

    async def alter_source(self, rng: Random) -> None:
        """Deploy a source with a column added or removed."""
        world = self._with_other_columns(rng, self.state.world.sources)
        await self._deploy("deploy: column added or removed", world, rng)

    async def change_job(self, rng: Random) -> None:
        """Deploy another definition of a job, preferring jobs following rows."""
        following = [job for job in self.state.world.derived_jobs if job.follows]
        world = self._changed_code(rng, following or self.state.world.derived_jobs)
        await self._deploy("deploy: job changed", world, rng)

    async def read_less(self, rng: Random) -> None:
        """Deploy a job that reads one partition instead of a window."""
        await self._deploy("deploy: job changed", self._without_windows(rng), rng)

    async def cut_otherwise(self, rng: Random) -> None:
        """Deploy a job with another number of partitions per task."""
        await self._deploy("deploy: task size changed", self._changed_task_size(rng), rng)

    async def activate(self, rng: Random) -> None:
        """Deploy an automatic job as manual, or the reverse."""
        label = "deploy: activation changed"
        await self._deploy(label, self._changed_activation(rng), rng)

    async def roll_back(self, rng: Random) -> None:
        """Deploy an earlier version."""
        await self._deploy("deploy: rollback", self._rollback(rng), rng)

    async def _deploy(self, label: str, other: World, rng: Random) -> None:
        dags = [d for d in other.dags if dag_file(other, d) != dag_file(self.state.world, d)]
        if dags:
            dag = rng.choice(dags)
            world = self.state.world.with_dag(dag, other)
            moved, deployed = [*self._moved(world, rng), *self._altered(world)], False
            try:
                deployed = await self._deployed(world, dag, rng)
            finally:
                if not deployed:
                    self.upstream.unpublished += moved
            if deployed:
                # Another DAG may have been deployed during the deploy.
                before = self.state.world
                self.earlier.append(before)
                await self._serve(before.with_dag(dag, world))
                self.state.counts.update([label, "deploys"])

    def _moved(self, world: World, rng: Random) -> list[SourceEvent]:
        """Change the rows of moved sources; returns events for a failed deploy."""
        moved = [job for job in world.sources if self._has_moved(job)]
        for job in moved:
            self.upstream.replace_rows(rng, job)
        return [SourceEvent(dataset=job.outputs[0].name, reason="change") for job in moved]

    def _altered(self, world: World) -> list[SourceEvent]:
        """Alter the rows of sources with changed columns; returns events for a failed deploy."""
        events = []
        for job in world.sources:
            (output,), before = job.outputs, self.state.world.producers.get(job.outputs[0].name)
            if before is not None and (other := {*before.outputs[0].columns} ^ {*output.columns}):
                self.upstream.alter_rows(job, other)
                events.append(SourceEvent(dataset=output.name, reason="schema_change"))
        return events

    def _has_moved(self, job: Job) -> bool:
        before = self.state.world.by_name.get(job.name)
        return before is not None and before.salt != job.salt

    async def deploy_calmly(self, world: World) -> None:
        """Deploy all DAGs; for mutual readers, deploy part of a DAG before the other."""
        served: tuple[Job, ...] = ()
        while len(served) < len(world.jobs):
            for dag in world.dags:
                part = _deployable(world, served, dag)
                if len(part) > len(served):
                    assert await self._deployed(World(part), dag, None)
                    served = part
        await self._serve(world)

    async def _deployed(self, world: World, dag: str, rng: Random | None) -> bool:
        self.state.log_line(f"deploy {dag}: {self._difference(world)}")
        parsed = parse_dag(json.dumps(dag_file(world, dag)), where=f"{dag}.yaml")
        org = self.state.org_context(rng)
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

    async def _serve(self, world: World) -> None:
        before, self.state.world = self.state.world, world
        rows = await self.state.rows(_SERVED)
        served, previous = (
            {row["name"]: row["dataset_version"] for row in rows},
            self.state.versions,
        )
        self.state.versions = served
        replaced = {name for name in served if served[name] != previous.get(name)}
        for dataset in replaced:
            self.upstream.republish_versioned(dataset)
        for job in world.jobs:
            self._declare_deployed(job, before, replaced)

    def _declare_deployed(self, job: Job, before: World, replaced: set[str]) -> None:
        """Declare changes by a deploy, except for outputs rebuilt from scratch."""
        now, ledger, name = self.state.now, self.state.ledger, job.outputs[0].name
        previous = before.by_name.get(job.name)
        if job.is_source:
            if previous is not None and {*universe(previous.space)} - {*universe(job.space)}:
                self.upstream.narrow(job)
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

    def _other_world(self, rng: Random) -> tuple[str, World]:
        variants: dict[str, tuple[int, Callable[[Random], World]]] = {
            "rollback": (20, self._rollback),
            "job or source removed": (15, self._without_one),
            "job added": (20, self._with_additional_job),
            "task size changed": (15, self._changed_task_size),
            "wait_for removed": (15, self._without_wait_for),
            "activation changed": (10, self._changed_activation),
            "job changed": (25, self._changed_code),
            "source moved": (10, self._changed_storage),
            "source widened": (10, self._widened_source),
            "source narrowed": (5, self._narrowed_source),
            "column added or removed": (15, self._with_other_columns),
        }
        variant = rng.choices([*variants], [weight for weight, _ in variants.values()])[0]
        return f"deploy: {variant}", variants[variant][1](rng)

    def _rollback(self, rng: Random) -> World:
        """Return an earlier world, but with current source bounds, since rows fill these bounds."""
        earlier = rng.choice(self.earlier) if self.earlier else self.state.world
        spaces = {job.name: job.space for previous in self.earlier for job in previous.sources}
        spaces |= {job.name: job.space for job in self.state.world.sources}
        for job in earlier.sources:
            earlier = earlier.replacing(replace(job, space=spaces[job.name]))
        return earlier

    def _without_one(self, rng: Random) -> World:
        """Return the world without a leaf, keeping at least one job and one source."""
        world = self.state.world
        jobs, sources = world.derived_jobs if len(world.derived_jobs) > 1 else [], world.sources[1:]
        removable = [job for job in world.leaves() if job in [*jobs, *sources]]
        return world.without(rng.choice(removable).name) if removable else world

    def _with_additional_job(self, rng: Random) -> World:
        world = self.state.world
        return World((*world.jobs, another_job(rng, world)))

    def _without_wait_for(self, rng: Random) -> World:
        waiting = [
            j for j in self.state.world.derived_jobs if any(r.wait_for != "any" for r in j.reads)
        ]
        return self._with(rng, waiting, lambda job: {"reads": tuple(map(_without_wait, job.reads))})

    def _changed_task_size(self, rng: Random) -> World:
        return self._with(
            rng, self.state.world.derived_jobs, lambda _: {"per_task": rng.choice([1, 2, 3])}
        )

    def _without_windows(self, rng: Random) -> World:
        windowed = [j for j in self.state.world.derived_jobs if any(map(_has_window, j.reads))]
        return self._with(rng, windowed, lambda job: {"reads": tuple(map(_narrowed, job.reads))})

    def _changed_activation(self, rng: Random) -> World:
        return self._with(
            rng, self.state.world.derived_jobs, lambda job: {"is_manual": not job.is_manual}
        )

    def _changed_code(self, rng: Random, among: Sequence[Job] = ()) -> World:
        among = among or self.state.world.derived_jobs
        return self._with(rng, among, lambda job: {"salt": job.salt + 1000})

    def _changed_storage(self, rng: Random) -> World:
        return self._with(rng, self.state.world.sources, lambda job: {"salt": job.salt + 1})

    def _widened_source(self, rng: Random) -> World:
        ending = [job for job in self.state.world.sources if any(map(_can_widen, job.space))]
        return self._with(rng, ending, lambda job: {"space": tuple(map(_longer, job.space))})

    def _narrowed_source(self, rng: Random) -> World:
        longer = [job for job in self.state.world.sources if any(map(_can_narrow, job.space))]
        return self._with(rng, longer, lambda job: {"space": tuple(map(_shorter, job.space))})

    def _with_other_columns(self, rng: Random, among: Sequence[Job] = ()) -> World:
        """Return the world with a column added to, or removed from, a dataset."""
        declaring = [job for job in among or self.state.world.jobs if job.declares_columns]
        return self._with(rng, declaring, lambda job: {"outputs": _altered(*job.outputs)})

    def _with(
        self, rng: Random, among: Sequence[Job], changes: Callable[[Job], dict[str, Any]]
    ) -> World:
        world = self.state.world
        if not among:
            return world
        job = rng.choice(among)
        return world.replacing(replace(job, **changes(job)))


def _deployable(world: World, served: Sequence[Job], dag: str) -> tuple[Job, ...]:
    """Return the deployed jobs, and the jobs of a DAG whose inputs are all deployed."""
    part = [*served]
    produced = {output.name for job in part for output in job.outputs}
    for job in world.jobs:
        if job.dag == dag and job not in part and {read.dataset for read in job.reads} <= produced:
            part.append(job)
            produced |= {output.name for output in job.outputs}
    return tuple(part)


def _can_widen(d: Dimension) -> bool:
    return d.is_ordered and d.bounds[1] is not None and d.bounds[1] < len(d.grid) - 1


def _longer(d: Dimension) -> Dimension:
    return replace(d, bounds=(d.bounds[0], (d.bounds[1] or 0) + 1)) if _can_widen(d) else d


def _can_narrow(d: Dimension) -> bool:
    return d.is_ordered and d.is_finite and len(d.universe) > 2


def _shorter(d: Dimension) -> Dimension:
    return replace(d, bounds=(d.bounds[0], (d.bounds[1] or 0) - 1)) if _can_narrow(d) else d


def _altered(first: Output, *others: Output) -> tuple[Output, ...]:
    """Return the outputs with the additional column added to, or removed from, the first."""
    if ADDED in first.columns:
        columns = tuple(column for column in first.columns if column != ADDED)
        lineage = first.lineage and tuple(pair for pair in first.lineage if pair[0] != ADDED)
    else:
        columns = (*first.columns, ADDED)
        lineage = first.lineage and tuple(sorted((*first.lineage, (ADDED, ()))))
    return replace(first, columns=columns, lineage=lineage), *others


def _changed_by_deploy(previous: Job, job: Job) -> list[Columns]:
    """Return the columns of a source declared changed in all partitions by a deploy."""
    other = {*previous.outputs[0].columns} ^ {*job.outputs[0].columns}
    return [None] * (previous.salt != job.salt) + [frozenset(other)] * bool(other)


def _without_wait(read: Read) -> Read:
    return replace(read, wait_for="any")


def _has_window(read: Read) -> bool:
    return any(link.window for link in read.links)


def _narrowed(read: Read) -> Read:
    if not _has_window(read):
        return read
    links = tuple(replace(link, window=None) for link in read.links)
    return replace(read, links=links, spec="identity")
