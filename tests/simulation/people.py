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
from tests.simulation.crashes import AnswerLost
from tests.simulation.dagfile import dag_file
from tests.simulation.dimensions import Dimension, Key, read_text, text, universe
from tests.simulation.generate import another_job
from tests.simulation.ledger import Changed, Declared
from tests.simulation.mapping import Read
from tests.simulation.stage import Stage
from tests.simulation.upstream import Upstream, brief
from tests.simulation.world import ADDED, GROUP, Columns, Job, Output, World

_FAILED = "SELECT id FROM tasks WHERE org_id = %(org)s AND status = 'failed' ORDER BY id"
_ANY = """
SELECT t.id, t.status, j.name FROM tasks t JOIN jobs j ON j.id = t.job_id
WHERE t.org_id = %(org)s ORDER BY t.id DESC LIMIT 40
"""
_OVER = ("succeeded", "skipped", "canceled")
_TASK = """
SELECT j.name, t.partitions, t.status FROM tasks t JOIN jobs j ON j.id = t.job_id
WHERE t.id = %(id)s AND t.org_id = %(org)s
"""
_SERVED = "SELECT name, dataset_version FROM current_datasets WHERE org_id = %(org)s"


class People:
    """Operators and authors; ``earlier`` are the worlds available for rollback."""

    def __init__(self, stage: Stage, upstream: Upstream) -> None:
        self.stage = stage
        self.upstream = upstream
        self.earlier: list[World] = []
        self._edited: SourceEvent | None = None

    # -- operators -----------------------------------------------------------------------------

    async def mend(self, dice: Random) -> None:
        """Retry a failed task, or cancel it and have its partitions rebuilt later."""
        failed = await self.failed()
        try:
            if failed and dice.random() < 0.6:
                await self.retry(dice.choice(failed), dice)
            elif failed:
                await self._cancel(dice.choice(failed), dice)
        except InvalidInput:
            self.stage.log_line("… somebody else has seen to it meanwhile")

    async def failed(self) -> list[UUID]:
        return [row["id"] for row in await self.stage.rows(_FAILED)]

    async def retry(self, task: UUID, dice: Random | None = None) -> None:
        self.stage.log_line("retry a failed task", "retry by hand")
        org = self.stage.org_context(dice)
        await self.stage.do("retry", lambda conn: retry(conn, org, task), dice)

    async def _cancel(self, task: UUID, dice: Random) -> None:
        """Cancel a task, leaving its partitions stale until a later change or request."""
        (row,) = await self.stage.rows(_TASK, id=task)
        what = f"a {row['status']} task"
        self.stage.log_line(f"cancel {what}: {row['name']}{row['partitions']}", f"cancel {what}")
        org = self.stage.org_context(dice)
        job = self.stage.world.by_name[row["name"]]
        keys = [key for each in row["partitions"] for key in read_text(job.space, each)]
        try:
            await self.stage.do("cancel", lambda conn: cancel(conn, org, task), dice)
        except AnswerLost:
            self.stage.decisions.leave(job, keys, self.stage.now)
            raise
        self.stage.decisions.leave(job, keys, self.stage.now)

    async def cancel(self, dice: Random) -> None:
        """Cancel a random task in any state."""
        await self._decide(self._cancel, dice)

    async def cancel_first(self, dice: Random) -> None:
        """Cancel the oldest unfinished task: no unfinished task is upstream."""
        await self._decide(self._cancel, dice, oldest=1)

    async def cancel_newest(self, dice: Random) -> None:
        """Cancel the newest unfinished task: no task waits for it."""
        await self._decide(self._cancel, dice, newest=True)

    async def retry_any(self, dice: Random) -> None:
        """Retry a random task; refused unless it has failed."""
        await self._decide(self.retry, dice)

    async def _decide(
        self,
        order: Callable[[UUID, Random], Awaitable[None]],
        dice: Random,
        oldest: float = 0.4,
        *,
        newest: bool = False,
    ) -> None:
        """Call an operator action on a random task, preferring unfinished tasks."""
        rows = await self.stage.rows(_ANY)
        unfinished = [row for row in rows if row["status"] not in _OVER]
        among = unfinished if unfinished and dice.random() < 0.9 else rows
        among = [row for row in among if row["name"] in self.stage.world.by_name]
        if not among:
            return
        chosen = among[-1] if dice.random() < oldest else dice.choice(among)
        chosen = among[0] if newest else chosen
        try:
            await order(chosen["id"], dice)
        except InvalidInput as error:
            self.stage.log_line(f"… refused: {error}", "order refused")

    async def invalidate(self, dice: Random) -> None:
        """Invalidate an output, or edit it and report the edit."""
        await self._invalidate(dice, dice.choice(["manual", "rewritten"]))

    async def wrong(self, dice: Random) -> None:
        """Invalidate an output."""
        await self._invalidate(dice, "manual")

    async def wrong_first(self, dice: Random) -> None:
        """Invalidate an unedited output of the first job."""
        job = self.stage.world.derived_jobs[0]
        event = SourceEvent(dataset=job.outputs[0].name, reason="manual")
        self.upstream.unpublished.append(event)
        self.stage.log_line(f"invalidate {brief(event)}", "manual by hand")

    async def rewrite(self, dice: Random) -> None:
        """Report an output as rewritten in place."""
        await self._invalidate(dice, "rewritten")

    async def _invalidate(self, dice: Random, reason: str) -> None:
        if not self.stage.world.derived_jobs:
            return
        job = dice.choice(self.stage.world.derived_jobs)
        dataset = dice.choice(job.outputs).name
        existing_keys = sorted((await self.stage.existing())[dataset])
        if not existing_keys:
            return
        keys = [dice.choice(existing_keys)] if dice.random() < 0.8 else existing_keys
        event = SourceEvent(
            dataset=dataset,
            partitions=None if len(keys) > 1 else (text(job.space, keys[0]),),
            reason=reason,
        )
        if dice.random() < 0.7:
            self._edit(dice, job, dataset, keys)
            if reason == "manual":
                self.stage.unannounced[dataset] |= {*keys}
        self._edited = event
        self.upstream.unpublished.append(event)
        self.stage.log_line(f"invalidate {brief(event)}", f"{event.reason} by hand")

    async def remake(self, dice: Random) -> None:
        """Request the rebuild of an output edited or invalidated before."""
        if self._edited is not None and self._edited.dataset in self.stage.world.makers:
            event = msgspec.structs.replace(self._edited, reason="manual")
            self.upstream.unpublished.append(event)
            self.stage.log_line(f"invalidate {brief(event)}", "manual by hand")

    def _edit(self, dice: Random, job: Job, dataset: str, keys: Sequence[Key]) -> None:
        """Edit output rows in place; they differ from a recomputation until the next run."""
        (output,) = (each for each in job.outputs if each.name == dataset)
        columns = [column for column in output.columns if column != GROUP]
        data = self.stage.warehouse[dataset, self.stage.versions[dataset]]
        for key in keys:
            data[key] = {
                n: {**row, **{column: dice.randrange(job.coarse) for column in columns}}
                for n, row in data[key].items()
            }
            self.stage.ledger.changed[dataset].append(Changed(self.stage.now, key, None))
        self.stage.edited[dataset] |= {*keys}
        self.stage.decisions.leave(job, keys, self.stage.now)
        self.stage.log_line(f"edit {dataset}{[*map(list, keys)]}", "output edited in place")

    async def request_excused(self) -> None:
        """Request recomputation of all partitions left stale by decisions."""
        for job, keys in self.stage.decisions.outstanding(self.stage.world):
            existing_keys = (await self.stage.existing())[job.outputs[0].name]
            texts = tuple(text(job.space, key) for key in sorted(keys & existing_keys))
            wanted = texts or tuple(text(job.space, key) for key in sorted(keys))
            event = SourceEvent(
                dataset=job.outputs[0].name,
                partitions=None if job.is_single_run or not job.space else wanted,
                reason="manual",
            )
            self.upstream.stream.append(event)
            self.stage.log_line(f"request {brief(event)}")

    # -- authors -------------------------------------------------------------------------------

    async def deploy(self, dice: Random) -> None:
        """Deploy a random change to one of the DAGs."""
        await self._deploy(*self._other_world(dice), dice)

    async def deploy_source(self, dice: Random) -> None:
        """Deploy a source with another table or wider bounds."""
        ways = {"source moved": self._changed_storage, "source widened": self._widened_source}
        how = dice.choice([*ways])
        await self._deploy(f"deploy: {how}", ways[how](dice), dice)

    async def widen_source(self, dice: Random) -> None:
        """Deploy a source with wider bounds."""
        await self._deploy("deploy: source widened", self._widened_source(dice), dice)

    async def narrow_source(self, dice: Random) -> None:
        """Deploy a source with narrower bounds."""
        await self._deploy("deploy: source narrowed", self._narrowed_source(dice), dice)

    async def alter_source(self, dice: Random) -> None:
        """Deploy a source with a column added or removed."""
        world = self._with_other_columns(dice, self.stage.world.sources)
        await self._deploy("deploy: column added or removed", world, dice)

    async def change_job(self, dice: Random) -> None:
        """Deploy another definition of a job, preferring jobs following rows."""
        following = [job for job in self.stage.world.derived_jobs if job.follows]
        world = self._changed_code(dice, following or self.stage.world.derived_jobs)
        await self._deploy("deploy: job changed", world, dice)

    async def read_less(self, dice: Random) -> None:
        """Deploy a job that reads one partition instead of a window."""
        await self._deploy("deploy: job changed", self._without_windows(dice), dice)

    async def cut_otherwise(self, dice: Random) -> None:
        """Deploy a job with another number of partitions per task."""
        await self._deploy("deploy: job cut otherwise", self._changed_task_size(dice), dice)

    async def activate(self, dice: Random) -> None:
        """Deploy an automatic job as manual, or the reverse."""
        how = "deploy: job made manual or automatic"
        await self._deploy(how, self._changed_activation(dice), dice)

    async def roll_back(self, dice: Random) -> None:
        """Deploy an earlier version."""
        await self._deploy("deploy: rollback", self._rollback(dice), dice)

    async def _deploy(self, how: str, other: World, dice: Random) -> None:
        dags = [d for d in other.dags if dag_file(other, d) != dag_file(self.stage.world, d)]
        if dags:
            dag = dice.choice(dags)
            world = self.stage.world.with_dag(dag, other)
            moved, deployed = [*self._moved(world, dice), *self._altered(world)], False
            try:
                deployed = await self._deployed(world, dag, dice)
            finally:
                if not deployed:
                    self.upstream.unpublished += moved
            if deployed:
                # Another DAG may have been deployed during the deploy.
                before = self.stage.world
                self.earlier.append(before)
                await self._serve(before.with_dag(dag, world))
                self.stage.counts.update([how, "deploys"])

    def _moved(self, world: World, dice: Random) -> list[SourceEvent]:
        """Change the rows of moved sources; returns events for a failed deploy."""
        moved = [job for job in world.sources if self._has_moved(job)]
        for job in moved:
            self.upstream.replace_rows(dice, job)
        return [SourceEvent(dataset=job.outputs[0].name, reason="change") for job in moved]

    def _altered(self, world: World) -> list[SourceEvent]:
        """Alter the rows of sources with changed columns; returns events for a failed deploy."""
        events = []
        for job in world.sources:
            (output,), before = job.outputs, self.stage.world.makers.get(job.outputs[0].name)
            if before is not None and (other := {*before.outputs[0].columns} ^ {*output.columns}):
                self.upstream.alter_rows(job, other)
                events.append(SourceEvent(dataset=output.name, reason="schema_change"))
        return events

    def _has_moved(self, job: Job) -> bool:
        before = self.stage.world.by_name.get(job.name)
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

    async def _deployed(self, world: World, dag: str, dice: Random | None) -> bool:
        self.stage.log_line(f"deploy {dag}: {self._difference(world)}")
        parsed = parse_dag(json.dumps(dag_file(world, dag)), where=f"{dag}.yaml")
        org = self.stage.org_context(dice)
        try:
            await self.stage.do("deploy", lambda conn: deploy(conn, org, parsed), dice)
        except AnswerLost:
            return True
        except InvalidDag as error:
            if dice is None:
                raise
            self.stage.log_line(f"… refused: {error}", "deploy refused")
            return False
        return True

    async def _serve(self, world: World) -> None:
        before, self.stage.world = self.stage.world, world
        rows = await self.stage.rows(_SERVED)
        served, previous = (
            {row["name"]: row["dataset_version"] for row in rows},
            self.stage.versions,
        )
        self.stage.versions = served
        begun = {name for name in served if served[name] != previous.get(name)}
        for dataset in begun:
            self.upstream.renew(dataset)
        for job in world.jobs:
            self._declare_deployed(job, before, begun)

    def _declare_deployed(self, job: Job, before: World, begun: set[str]) -> None:
        """Declare changes by a deploy, except for outputs rebuilt from scratch."""
        now, ledger, name = self.stage.now, self.stage.ledger, job.outputs[0].name
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
        if name in begun:
            self.stage.decisions.drop([job.name])
        replaced = any(r.dataset in begun and r.dataset in before.makers for r in job.reads)
        is_resized = previous is not None and previous.per_task != job.per_task
        # A job made manual still runs its existing tasks.
        is_other = previous is not None and previous.is_manual != job.is_manual
        if name not in begun and (replaced or is_resized or is_other):
            ledger.wrong[name].append(Declared(now, None, None))

    def _difference(self, world: World) -> str:
        return ", ".join(sorted({job.name for job in {*world.jobs} ^ {*self.stage.world.jobs}}))

    def _other_world(self, dice: Random) -> tuple[str, World]:
        ways: dict[str, tuple[int, Callable[[Random], World]]] = {
            "rollback": (20, self._rollback),
            "job or source removed": (15, self._without_one),
            "job added": (20, self._with_one_more),
            "job cut otherwise": (15, self._changed_task_size),
            "job waits no more": (15, self._without_wait_for),
            "job made manual or automatic": (10, self._changed_activation),
            "job changed": (25, self._changed_code),
            "source moved": (10, self._changed_storage),
            "source widened": (10, self._widened_source),
            "source narrowed": (5, self._narrowed_source),
            "column added or removed": (15, self._with_other_columns),
        }
        how = dice.choices([*ways], [weight for weight, _ in ways.values()])[0]
        return f"deploy: {how}", ways[how][1](dice)

    def _rollback(self, dice: Random) -> World:
        """Return an earlier world, but with current source bounds, since rows fill these bounds."""
        earlier = dice.choice(self.earlier) if self.earlier else self.stage.world
        spaces = {job.name: job.space for previous in self.earlier for job in previous.sources}
        spaces |= {job.name: job.space for job in self.stage.world.sources}
        for job in earlier.sources:
            earlier = earlier.replacing(replace(job, space=spaces[job.name]))
        return earlier

    def _without_one(self, dice: Random) -> World:
        """Return the world without an unread job or source, keeping at least one of each."""
        world = self.stage.world
        jobs, sources = world.derived_jobs if len(world.derived_jobs) > 1 else [], world.sources[1:]
        removable = [job for job in world.leaves() if job in [*jobs, *sources]]
        return world.without(dice.choice(removable).name) if removable else world

    def _with_one_more(self, dice: Random) -> World:
        world = self.stage.world
        return World((*world.jobs, another_job(dice, world)))

    def _without_wait_for(self, dice: Random) -> World:
        waiting = [
            j for j in self.stage.world.derived_jobs if any(r.wait_for != "any" for r in j.reads)
        ]
        return self._with(dice, waiting, lambda job: {"reads": tuple(map(_at_once, job.reads))})

    def _changed_task_size(self, dice: Random) -> World:
        return self._with(
            dice, self.stage.world.derived_jobs, lambda _: {"per_task": dice.choice([1, 2, 3])}
        )

    def _without_windows(self, dice: Random) -> World:
        windowed = [j for j in self.stage.world.derived_jobs if any(map(_has_window, j.reads))]
        return self._with(dice, windowed, lambda job: {"reads": tuple(map(_narrowed, job.reads))})

    def _changed_activation(self, dice: Random) -> World:
        return self._with(
            dice, self.stage.world.derived_jobs, lambda job: {"is_manual": not job.is_manual}
        )

    def _changed_code(self, dice: Random, among: Sequence[Job] = ()) -> World:
        among = among or self.stage.world.derived_jobs
        return self._with(dice, among, lambda job: {"salt": job.salt + 1000})

    def _changed_storage(self, dice: Random) -> World:
        return self._with(dice, self.stage.world.sources, lambda job: {"salt": job.salt + 1})

    def _widened_source(self, dice: Random) -> World:
        ending = [job for job in self.stage.world.sources if any(map(_can_widen, job.space))]
        return self._with(dice, ending, lambda job: {"space": tuple(map(_longer, job.space))})

    def _narrowed_source(self, dice: Random) -> World:
        longer = [job for job in self.stage.world.sources if any(map(_can_narrow, job.space))]
        return self._with(dice, longer, lambda job: {"space": tuple(map(_shorter, job.space))})

    def _with_other_columns(self, dice: Random, among: Sequence[Job] = ()) -> World:
        """Return the world with a column added to, or removed from, a dataset."""
        declaring = [job for job in among or self.stage.world.jobs if job.declares_columns]
        return self._with(dice, declaring, lambda job: {"outputs": _altered(*job.outputs)})

    def _with(
        self, dice: Random, among: Sequence[Job], changes: Callable[[Job], dict[str, Any]]
    ) -> World:
        world = self.stage.world
        if not among:
            return world
        job = dice.choice(among)
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
        columns = tuple(each for each in first.columns if each != ADDED)
        lineage = first.lineage and tuple(each for each in first.lineage if each[0] != ADDED)
    else:
        columns = (*first.columns, ADDED)
        lineage = first.lineage and tuple(sorted((*first.lineage, (ADDED, ()))))
    return replace(first, columns=columns, lineage=lineage), *others


def _changed_by_deploy(previous: Job, job: Job) -> list[Columns]:
    """Return the columns of a source declared changed in all partitions by a deploy."""
    other = {*previous.outputs[0].columns} ^ {*job.outputs[0].columns}
    return [None] * (previous.salt != job.salt) + [frozenset(other)] * bool(other)


def _at_once(read: Read) -> Read:
    return replace(read, wait_for="any")


def _has_window(read: Read) -> bool:
    return any(link.window for link in read.links)


def _narrowed(read: Read) -> Read:
    if not _has_window(read):
        return read
    links = tuple(replace(link, window=None) for link in read.links)
    return replace(read, links=links, spec="identity")
