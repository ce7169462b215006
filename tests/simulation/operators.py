"""Operators: handle failed tasks, invalidate partitions, and edit outputs by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from uuid import UUID

import msgspec

from engine.errors import InvalidInput
from engine.flow.execution.cancel import cancel
from engine.flow.execution.retry import Retried, retry
from engine.model.event import SourceEvent
from tests.simulation import recompute
from tests.simulation.crashes import ResponseLost
from tests.simulation.dimensions import Key, read_text, text
from tests.simulation.events import event_text
from tests.simulation.ledger import Changed
from tests.simulation.state import SimulationState
from tests.simulation.upstream import Upstream
from tests.simulation.world import GROUP, Job

_FAILED = "SELECT id FROM tasks WHERE org_id = %(org)s AND status = 'failed' ORDER BY id"
_ANY = """
SELECT t.id, t.status, j.name FROM tasks t JOIN jobs j ON j.id = t.job_id
WHERE t.org_id = %(org)s ORDER BY t.id DESC LIMIT 40
"""
_CANCELED = """
SELECT id FROM tasks WHERE org_id = %(org)s AND status = 'canceled' ORDER BY id DESC LIMIT 5
"""
_REQUESTED = """
SELECT i.id, d.name, i.partition_key
FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid
WHERE i.id = ANY(%(ids)s) ORDER BY i.id
"""
_FINISHED = ("succeeded", "skipped", "canceled")
_TASK = """
SELECT j.name, t.partitions, t.status FROM tasks t JOIN jobs j ON j.id = t.job_id
WHERE t.id = %(id)s AND t.org_id = %(org)s
"""


class Operators:
    """Operators of tasks and partitions."""

    def __init__(self, state: SimulationState, upstream: Upstream) -> None:
        self.state = state
        self.upstream = upstream
        self._last_event: SourceEvent | None = None

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
        """Retry a task; a canceled one is requested like an output invalidated by hand."""
        self.state.log_line("retry a task")
        org = self.state.org_context(rng)
        try:
            retried = await self.state.do("retry", lambda conn: retry(conn, org, task), rng)
        except ResponseLost as lost:
            await self._record(lost.response)
            raise
        await self._record(retried)

    async def _record(self, retried: Retried) -> None:
        self.state.counts["failed task retried"] += retried.queued
        self.state.counts["canceled task retried"] += retried.requested
        for row in await self.state.rows(_REQUESTED, ids=[*retried.invalidations]):
            partitions = None if row["partition_key"] is None else (row["partition_key"],)
            event = SourceEvent(dataset=row["name"], partitions=partitions, reason="manual")
            self.state.log_line(f"… invalidates {event_text(event)}")
            self.state.record_events([row["id"]], [event])

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
        """Retry a random task; rejected unless it has failed or was canceled."""
        await self._decide(self.retry, rng)

    async def retry_canceled(self, rng: Random) -> None:
        """Retry one of the tasks canceled last; rejected if a newer one covers its partitions."""
        rows = await self.state.rows(_CANCELED)
        try:
            if rows:
                await self.retry(rng.choice(rows)["id"], rng)
        except InvalidInput as error:
            self.state.log_line(f"… refused: {error}", "operator action refused")

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
        """Request recomputation of all partitions left stale by decisions, if they have inputs.

        A request builds a partition even without any input.
        """
        for job, keys in self.state.decisions.outstanding(self.state.world):
            existing = await self.state.existing()
            existing_keys = existing[job.outputs[0].name]
            built = tuple(text(job.space, key) for key in sorted(keys & existing_keys))
            possible = keys & recompute.may_exist(self.state.world, job, existing)
            requested = built or tuple(text(job.space, key) for key in sorted(possible))
            if not requested:
                continue
            event = SourceEvent(
                dataset=job.outputs[0].name,
                partitions=None if job.is_single_run or not job.space else requested,
                reason="manual",
            )
            self.upstream.stream.append(event)
            self.state.log_line(f"request {event_text(event)}")
