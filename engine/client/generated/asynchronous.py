"""Methods of `AsyncServer`, generated from the routes by `make reference`: do not edit."""

import builtins
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from engine.client.connections import AsyncConnection
from engine.client.event_streams import AsyncEventStream
from engine.client.pages import AsyncPages
from engine.client.requests import Request, optional, segment
from engine.client.resource import AsyncResource
from engine.model.states import (
    EventKind,
    KeyScope,
    PauseKind,
    PlanState,
    Reason,
    Receiver,
    Role,
    TaskStatus,
)
from engine.model.task import Output
from engine.service.commands.api_keys import CreatedKey
from engine.service.commands.backfills import Impact, Requested
from engine.service.commands.dead_letters import Replayed
from engine.service.commands.deploys import Deploy
from engine.service.commands.ingestion import Ingestion
from engine.service.commands.org_roles import NamedOrgRole
from engine.service.commands.pauses import RequestedPause
from engine.service.commands.plans import Applied, Review
from engine.service.commands.sessions import EndedSessions
from engine.service.commands.tasks import Retried
from engine.service.commands.undeploys import Undeployed
from engine.service.commands.users import NamedUser
from engine.service.commands.webhooks import AddedWebhook
from engine.service.commands.worker_tasks import ClaimedTask, ExtendedTask
from engine.service.queries.attempts import TaskLog
from engine.service.queries.audit import Counts
from engine.service.queries.awaited import Awaited
from engine.service.queries.dags import DeployedDag
from engine.service.queries.datasets import DatasetRow
from engine.service.queries.dead_letters import DeadLetter
from engine.service.queries.events import FeedEvent
from engine.service.queries.explain_partition import ExplainedPartition
from engine.service.queries.explain_task import ExplainedTask
from engine.service.queries.health import Check
from engine.service.queries.history import PastDeploy, VersionFile
from engine.service.queries.identity import AccessChange, KeyRow, OrgRole, User
from engine.service.queries.invalidations import InvalidationRow
from engine.service.queries.jobs import JobRow
from engine.service.queries.lineage import LineageNode
from engine.service.queries.neighbourhood import Neighbourhood
from engine.service.queries.orgs import OrgSettings
from engine.service.queries.partition_states import StateRow
from engine.service.queries.pauses import Pause
from engine.service.queries.plans import PlanRow, PlanView
from engine.service.queries.positions import Position
from engine.service.queries.progress import Progress
from engine.service.queries.schedules import ScheduleRow
from engine.service.queries.search import SearchKind, SearchResult
from engine.service.queries.sessions import SessionRow
from engine.service.queries.stale import StaleRow
from engine.service.queries.status import Status
from engine.service.queries.tasks import TaskRow
from engine.service.queries.usage import Usage
from engine.service.queries.webhooks import WebhookRow
from engine.service.responses import (
    Canceled,
    Claimed,
    Discarded,
    Ids,
    Me,
    Membership,
    OrgAdmission,
    Page,
    RemovedWebhook,
    Reported,
    RevokedKey,
)


class AsyncAccessChangesResource(AsyncResource):
    """`/access-changes`."""

    def list(self) -> AsyncPages[AccessChange]:
        """List changes of users, roles, keys and settings, newest first."""
        return AsyncPages(self._connection, Request("GET", "/access-changes", Page[AccessChange]))


class AsyncAuditResource(AsyncResource):
    """`/audit`."""

    async def get(self, *, dataset: str | None = None, limit: int = 100) -> Counts:
        """Check every partition for lost work."""
        return await self._connection.send(
            Request("GET", "/audit", Counts, query={"dataset": dataset, "limit": limit})
        )

    async def mend(self, *, dataset: str | None = None, limit: int = 100) -> Counts:
        """Check every partition, and invalidate those that are lost."""
        return await self._connection.send(
            Request(
                "POST", "/audit/mend", Counts, body={"dataset": optional(dataset), "limit": limit}
            )
        )


class AsyncBackfillsResource(AsyncResource):
    """`/backfills`."""

    async def create(self, target: str, partitions: Sequence[str]) -> Requested:
        """Build partitions, whether they exist or not."""
        return await self._connection.send(
            Request(
                "POST", "/backfills", Requested, body={"target": target, "partitions": partitions}
            )
        )

    async def propose(self, target: str, partitions: Sequence[str]) -> Impact:
        """Plan a backfill without effect, and store the plan."""
        return await self._connection.send(
            Request(
                "POST",
                "/backfills/propose",
                Impact,
                body={"target": target, "partitions": partitions},
            )
        )


class AsyncDagsResource(AsyncResource):
    """`/dags`."""

    def list(self) -> AsyncPages[DeployedDag]:
        """List the DAGs of the org in their current versions, by name."""
        return AsyncPages(self._connection, Request("GET", "/dags", Page[DeployedDag]))

    def deploys(self, dag: str) -> AsyncPages[PastDeploy]:
        """List deploys and undeploys of a DAG, newest first."""
        return AsyncPages(
            self._connection, Request("GET", f"/dags/{segment(dag)}/deploys", Page[PastDeploy])
        )

    async def file(self, dag: str, version: int) -> VersionFile:
        """Show the file of a version of a DAG; its deploy makes the version current again."""
        return await self._connection.send(
            Request("GET", f"/dags/{segment(dag)}/versions/{segment(version)}/file", VersionFile)
        )

    async def undeploy(
        self, dag: str, *, drop_tables: bool = False, dry_run: bool = False
    ) -> Undeployed:
        """Remove a DAG from the current versions, or show the effect of the removal."""
        return await self._connection.send(
            Request(
                "POST",
                f"/dags/{segment(dag)}/undeploy",
                Undeployed,
                query={"dry_run": dry_run},
                body={"drop_tables": drop_tables},
            )
        )


class AsyncDatasetsResource(AsyncResource):
    """`/datasets`."""

    def list(self, *, dag: str | None = None) -> AsyncPages[DatasetRow]:
        """List the datasets, each after the datasets upstream."""
        return AsyncPages(
            self._connection, Request("GET", "/datasets", Page[DatasetRow], query={"dag": dag})
        )

    async def partitions(self, dataset: str) -> builtins.list[StateRow]:
        """List the states of a dataset's partitions, each with keys and ranges of keys."""
        return [
            *(
                await self._connection.send(
                    Request("GET", f"/datasets/{segment(dataset)}/partitions", Page[StateRow])
                )
            ).items
        ]

    async def explanation(self, dataset: str, partition: str) -> ExplainedPartition:
        """Explain the state of one partition."""
        return await self._connection.send(
            Request(
                "GET",
                f"/datasets/{segment(dataset)}/explanation",
                ExplainedPartition,
                query={"partition": partition},
            )
        )

    async def lineage(
        self, dataset: str, *, direction: Literal["down", "up"] = "down"
    ) -> builtins.list[LineageNode]:
        """Show the lineage of a dataset as a tree, with the columns of each edge."""
        return [
            *(
                await self._connection.send(
                    Request(
                        "GET",
                        f"/datasets/{segment(dataset)}/lineage",
                        Page[LineageNode],
                        query={"direction": direction},
                    )
                )
            ).items
        ]

    async def neighbourhood(
        self,
        dataset: str,
        *,
        upstream: int = 2,
        downstream: int = 2,
        limit: int = 300,
        columns: bool = False,
        column: str | None = None,
    ) -> Neighbourhood:
        """Show the datasets and jobs around a dataset, with their states, up to the limit."""
        return await self._connection.send(
            Request(
                "GET",
                f"/datasets/{segment(dataset)}/neighbourhood",
                Neighbourhood,
                query={
                    "upstream": upstream,
                    "downstream": downstream,
                    "limit": limit,
                    "columns": columns,
                    "column": column,
                },
            )
        )


class AsyncDeadLettersResource(AsyncResource):
    """`/dead-letters`."""

    def list(self, *, done: bool = False) -> AsyncPages[DeadLetter]:
        """List dead letters, newest first."""
        return AsyncPages(
            self._connection,
            Request("GET", "/dead-letters", Page[DeadLetter], query={"done": done}),
        )

    async def replay_many(
        self, *, ids: Sequence[str | UUID] | None = None
    ) -> builtins.list[Replayed]:
        """Ingest dead letters again, by ids, or all open ones, the oldest first."""
        return [
            *(
                await self._connection.send(
                    Request(
                        "POST", "/dead-letters/replay", Page[Replayed], body={"ids": optional(ids)}
                    )
                )
            ).items
        ]

    async def discard_many(
        self,
        reason: str,
        *,
        ids: Sequence[str | UUID] | None = None,
        stream: str | None = None,
        error: str | None = None,
    ) -> Discarded:
        """Discard dead letters by ids, or all open ones of a stream, or with a text in the error."""
        return await self._connection.send(
            Request(
                "POST",
                "/dead-letters/discard",
                Discarded,
                body={
                    "reason": reason,
                    "ids": optional(ids),
                    "stream": optional(stream),
                    "error": optional(error),
                },
            )
        )

    async def get(self, dead_letter: str | UUID) -> DeadLetter:
        """Show a dead letter with its payload."""
        return await self._connection.send(
            Request("GET", f"/dead-letters/{segment(dead_letter)}", DeadLetter)
        )

    async def replay(self, dead_letter: str | UUID) -> Replayed:
        """Ingest a dead letter again with the current format of the topic."""
        return await self._connection.send(
            Request("POST", f"/dead-letters/{segment(dead_letter)}/replay", Replayed)
        )

    async def discard(self, dead_letter: str | UUID, reason: str) -> Discarded:
        """Discard a dead letter without a replay; it is kept with the user and the reason."""
        return await self._connection.send(
            Request(
                "POST",
                f"/dead-letters/{segment(dead_letter)}/discard",
                Discarded,
                body={"reason": reason},
            )
        )


class AsyncDeploysResource(AsyncResource):
    """`/deploys`."""

    def list(self) -> AsyncPages[PastDeploy]:
        """List deploys and undeploys of all DAGs, newest first."""
        return AsyncPages(self._connection, Request("GET", "/deploys", Page[PastDeploy]))

    async def create(self, files: Sequence[str], *, dry_run: bool = False) -> Deploy:
        """Deploy DAG files together, or show the effect, for readers as well."""
        return await self._connection.send(
            Request("POST", "/deploys", Deploy, query={"dry_run": dry_run}, body={"files": files})
        )


class AsyncEventsResource(AsyncResource):
    """`/events`."""

    def list(
        self, *, after: int | None = None, kinds: Sequence[EventKind] | None = None
    ) -> AsyncPages[FeedEvent]:
        """List events by position, the newest or those after a position."""
        return AsyncPages(
            self._connection,
            Request("GET", "/events", Page[FeedEvent], query={"after": after, "kind": kinds}),
        )

    def stream(
        self, *, after: int | None = None, kinds: Sequence[EventKind] | None = None
    ) -> AsyncEventStream:
        """Stream events as server-sent events, from now or without a gap after a position."""
        return AsyncEventStream(
            self._connection,
            Request("GET", "/events/stream", FeedEvent, query={"after": after, "kind": kinds}),
        )


class AsyncHealthResource(AsyncResource):
    """`/health`."""

    async def processes(self) -> Check:
        """Check that the processes that the org needs are connected."""
        return await self._connection.send(Request("GET", "/health/processes", Check))

    async def work(self) -> builtins.list[Check]:
        """Check deployed DAGs, and unfinished, failed and abandoned work."""
        return [*(await self._connection.send(Request("GET", "/health/work", Page[Check]))).items]


class AsyncInvalidationsResource(AsyncResource):
    """`/invalidations`."""

    def list(
        self, *, dataset: str | None = None, open: bool = False, set_aside: bool = False
    ) -> AsyncPages[InvalidationRow]:
        """List invalidations, newest first."""
        return AsyncPages(
            self._connection,
            Request(
                "GET",
                "/invalidations",
                Page[InvalidationRow],
                query={"dataset": dataset, "open": open, "set_aside": set_aside},
            ),
        )

    async def create(
        self,
        dataset: str,
        *,
        partitions: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        rows: Mapping[str, Any] | None = None,
        reason: Reason | None = None,
        version: str | None = None,
        note: str | None = None,
        fingerprint: str | None = None,
        idempotency_key: str | None = None,
    ) -> Requested:
        """Mark part of a dataset as changed; a request repeated with its key has status 200."""
        return await self._connection.send(
            Request(
                "POST",
                "/invalidations",
                Requested,
                body={
                    "dataset": dataset,
                    "partitions": optional(partitions),
                    "columns": optional(columns),
                    "rows": optional(rows),
                    "reason": optional(reason),
                    "version": optional(version),
                    "note": optional(note),
                    "fingerprint": optional(fingerprint),
                },
                headers={"Idempotency-Key": idempotency_key},
            )
        )

    async def replay(self, *, ids: Sequence[str | UUID] | None = None, whole: bool = False) -> Ids:
        """Plan set-aside invalidations again."""
        return await self._connection.send(
            Request(
                "POST", "/invalidations/replay", Ids, body={"ids": optional(ids), "whole": whole}
            )
        )

    async def progress(self, ids: Sequence[UUID]) -> Progress:
        """Show the progress of the tasks of invalidations."""
        return await self._connection.send(
            Request("GET", "/invalidations/progress", Progress, query={"id": ids})
        )

    async def awaited(self, ids: Sequence[UUID]) -> Awaited:
        """Show the unfinished work of invalidations, including tasks upstream."""
        return await self._connection.send(
            Request("GET", "/invalidations/awaited", Awaited, query={"id": ids})
        )

    async def of_version(self, version: str | UUID) -> Ids:
        """Show the invalidations for the initial builds of a DAG version, by the id of the version."""
        return await self._connection.send(
            Request("GET", f"/invalidations/of-version/{segment(version)}", Ids)
        )


class AsyncJobsResource(AsyncResource):
    """`/jobs`."""

    def list(self, *, dag: str | None = None) -> AsyncPages[JobRow]:
        """List the jobs, each after the jobs upstream, with their unfinished tasks."""
        return AsyncPages(
            self._connection, Request("GET", "/jobs", Page[JobRow], query={"dag": dag})
        )

    async def run(self, job: str, *, partitions: Sequence[str] | None = None) -> Requested:
        """Recompute all or some partitions of a job's outputs."""
        return await self._connection.send(
            Request(
                "POST",
                f"/jobs/{segment(job)}/run",
                Requested,
                body={"partitions": optional(partitions)},
            )
        )


class AsyncKeysResource(AsyncResource):
    """`/keys`."""

    def list(self) -> AsyncPages[KeyRow]:
        """List the keys of the org's users without their secrets, newest first."""
        return AsyncPages(self._connection, Request("GET", "/keys", Page[KeyRow]))

    async def create(
        self, user: str, name: str, scopes: Sequence[KeyScope], *, seconds: float | None = None
    ) -> CreatedKey:
        """Create a key, which the response shows once."""
        return await self._connection.send(
            Request(
                "POST",
                "/keys",
                CreatedKey,
                body={"user": user, "name": name, "scopes": scopes, "seconds": optional(seconds)},
            )
        )

    async def revoke(self, prefix: str) -> RevokedKey:
        """Revoke a key at once."""
        return await self._connection.send(
            Request("POST", f"/keys/{segment(prefix)}/revoke", RevokedKey)
        )


class AsyncLineageResource(AsyncResource):
    """`/lineage`."""

    async def list(
        self, *, direction: Literal["down", "up"] = "down"
    ) -> builtins.list[LineageNode]:
        """Show the trees of all sources, or upstream of all unread datasets."""
        return [
            *(
                await self._connection.send(
                    Request("GET", "/lineage", Page[LineageNode], query={"direction": direction})
                )
            ).items
        ]

    async def send_run_events(
        self, content: bytes, *, headers: Mapping[str, str | None] | None = None
    ) -> Ingestion:
        """Ingest OpenLineage run events at the endpoint `openlineage`."""
        return await self._connection.send(
            Request("POST", "/lineage", Ingestion, content=content, headers=headers or {})
        )


class AsyncMeResource(AsyncResource):
    """`/me`."""

    async def get(self) -> Me:
        """Show the user for whom the key acts, and the rights of the key."""
        return await self._connection.send(Request("GET", "/me", Me))


class AsyncOrgResource(AsyncResource):
    """`/org`."""

    async def get(self) -> OrgSettings:
        """Show the settings of the org."""
        return await self._connection.send(Request("GET", "/org", OrgSettings))

    async def usage(self) -> Usage:
        """Show what the org uses of its quotas."""
        return await self._connection.send(Request("GET", "/org/usage", Usage))

    async def set_blast_radius(self, limit: int | None) -> OrgSettings:
        """Limit the partitions that a plan recomputes without approval."""
        return await self._connection.send(
            Request("POST", "/org/blast-radius", OrgSettings, body={"limit": limit})
        )

    async def set_four_eyes(self, required: bool) -> OrgSettings:
        """Require another person for approvals, or no longer."""
        return await self._connection.send(
            Request("POST", "/org/four-eyes", OrgSettings, body={"required": required})
        )

    async def admission(self) -> OrgAdmission:
        """Show who is admitted to the org through the identity provider."""
        return await self._connection.send(Request("GET", "/org/admission", OrgAdmission))

    async def set_admission(
        self,
        issuer: str | None,
        *,
        creates_users: bool = False,
        default_role: Role | None = None,
        roles: Mapping[str, Role] | None = None,
        org_roles: Mapping[str, Sequence[str]] | None = None,
    ) -> OrgAdmission:
        """Set who is admitted to the org through the identity provider; ends all sessions."""
        return await self._connection.send(
            Request(
                "POST",
                "/org/admission",
                OrgAdmission,
                body={
                    "issuer": issuer,
                    "creates_users": creates_users,
                    "default_role": optional(default_role),
                    "roles": optional(roles),
                    "org_roles": optional(org_roles),
                },
            )
        )


class AsyncPausesResource(AsyncResource):
    """`/pauses`."""

    async def list(self) -> builtins.list[Pause]:
        """List everything that is paused."""
        return [*(await self._connection.send(Request("GET", "/pauses", Page[Pause]))).items]

    async def create(
        self, kind: PauseKind, *, name: str | None = None, reason: str | None = None
    ) -> RequestedPause:
        """Pause a job, a dataset, or the org."""
        return await self._connection.send(
            Request(
                "POST",
                "/pauses",
                RequestedPause,
                body={"kind": kind, "name": optional(name), "reason": optional(reason)},
            )
        )

    async def resume(self, kind: PauseKind, *, name: str | None = None) -> Pause:
        """End a pause; the work gathered meanwhile continues."""
        return await self._connection.send(
            Request("POST", "/pauses/resume", Pause, body={"kind": kind, "name": optional(name)})
        )


class AsyncPlansResource(AsyncResource):
    """`/plans`."""

    def list(self, *, state: Sequence[PlanState] | None = None) -> AsyncPages[PlanRow]:
        """List plans, newest first."""
        return AsyncPages(
            self._connection, Request("GET", "/plans", Page[PlanRow], query={"state": state})
        )

    async def create(
        self,
        dataset: str,
        *,
        partitions: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        rows: Mapping[str, Any] | None = None,
        reason: Reason | None = None,
        version: str | None = None,
        note: str | None = None,
        fingerprint: str | None = None,
    ) -> Impact:
        """Plan a change without effect, and store the plan."""
        return await self._connection.send(
            Request(
                "POST",
                "/plans",
                Impact,
                body={
                    "dataset": dataset,
                    "partitions": optional(partitions),
                    "columns": optional(columns),
                    "rows": optional(rows),
                    "reason": optional(reason),
                    "version": optional(version),
                    "note": optional(note),
                    "fingerprint": optional(fingerprint),
                },
            )
        )

    async def approve_many(self, ids: Sequence[str | UUID]) -> builtins.list[Review]:
        """Run plans pending approval one by one, each planned again in the current state."""
        return [
            *(
                await self._connection.send(
                    Request("POST", "/plans/approve", Page[Review], body={"ids": ids})
                )
            ).items
        ]

    async def reject_many(self, ids: Sequence[str | UUID]) -> builtins.list[Review]:
        """Reject plans pending approval; the affected partitions stay stale."""
        return [
            *(
                await self._connection.send(
                    Request("POST", "/plans/reject", Page[Review], body={"ids": ids})
                )
            ).items
        ]

    async def get(self, plan: str | UUID) -> PlanView:
        """Show a plan: its steps, the pruned edges, and its invalidations."""
        return await self._connection.send(Request("GET", f"/plans/{segment(plan)}", PlanView))

    async def apply(self, plan: str | UUID) -> Applied:
        """Run a proposed plan exactly as shown, or return the differences from a current plan."""
        return await self._connection.send(
            Request("POST", f"/plans/{segment(plan)}/apply", Applied)
        )

    async def approve(self, plan: str | UUID) -> Review:
        """Run a plan pending approval, planned again in the current state."""
        return await self._connection.send(
            Request("POST", f"/plans/{segment(plan)}/approve", Review)
        )

    async def reject(self, plan: str | UUID) -> Review:
        """Reject a plan pending approval; the affected partitions stay stale."""
        return await self._connection.send(
            Request("POST", f"/plans/{segment(plan)}/reject", Review)
        )


class AsyncPositionsResource(AsyncResource):
    """`/positions`."""

    async def list(self) -> builtins.list[Position]:
        """List the positions of consumers in topics and change logs, and how far they are behind."""
        return [*(await self._connection.send(Request("GET", "/positions", Page[Position]))).items]


class AsyncRolesResource(AsyncResource):
    """`/roles`."""

    def list(self) -> AsyncPages[OrgRole]:
        """List the roles of the org, with their members."""
        return AsyncPages(self._connection, Request("GET", "/roles", Page[OrgRole]))

    async def create(self, slug: str, *, name: str | None = None) -> NamedOrgRole:
        """Add a role without members."""
        return await self._connection.send(
            Request("POST", "/roles", NamedOrgRole, body={"slug": slug, "name": optional(name)})
        )

    async def delete(self, role: str) -> NamedOrgRole:
        """Remove a role with its memberships."""
        return await self._connection.send(
            Request("DELETE", f"/roles/{segment(role)}", NamedOrgRole)
        )

    async def grant(self, role: str, user: str) -> Membership:
        """Make a user a member of a role."""
        return await self._connection.send(
            Request("POST", f"/roles/{segment(role)}/members", Membership, body={"user": user})
        )

    async def revoke(self, role: str, user: str | UUID) -> Membership:
        """End the membership of a user."""
        return await self._connection.send(
            Request("DELETE", f"/roles/{segment(role)}/members/{segment(user)}", Membership)
        )


class AsyncSchedulesResource(AsyncResource):
    """`/schedules`."""

    def list(self) -> AsyncPages[ScheduleRow]:
        """List the schedules of sources, the next to fire first, with the partitions that change."""
        return AsyncPages(self._connection, Request("GET", "/schedules", Page[ScheduleRow]))


class AsyncSearchResource(AsyncResource):
    """`/search`."""

    async def get(
        self, q: str, *, kind: Sequence[SearchKind] | None = None, limit: int = 20
    ) -> SearchResult:
        """Search for datasets, jobs, columns and DAGs by name, and for work by id."""
        return await self._connection.send(
            Request("GET", "/search", SearchResult, query={"q": q, "kind": kind, "limit": limit})
        )


class AsyncSessionsResource(AsyncResource):
    """`/sessions`."""

    def list(self) -> AsyncPages[SessionRow]:
        """List the sessions of the caller's own user, newest first."""
        return AsyncPages(self._connection, Request("GET", "/sessions", Page[SessionRow]))

    async def delete_all(self) -> EndedSessions:
        """Log the caller's own user out everywhere."""
        return await self._connection.send(Request("DELETE", "/sessions", EndedSessions))

    async def delete(self, session: str | UUID) -> EndedSessions:
        """End a session of the caller's own user."""
        return await self._connection.send(
            Request("DELETE", f"/sessions/{segment(session)}", EndedSessions)
        )


class AsyncSourcesResource(AsyncResource):
    """`/sources`."""

    async def send(
        self, endpoint: str, content: bytes, *, headers: Mapping[str, str | None] | None = None
    ) -> Ingestion:
        """Ingest the messages of a request; rejected ones become dead letters."""
        return await self._connection.send(
            Request(
                "POST",
                f"/sources/{segment(endpoint)}",
                Ingestion,
                content=content,
                headers=headers or {},
            )
        )


class AsyncStaleResource(AsyncResource):
    """`/stale`."""

    async def list(self, *, dataset: str | None = None, limit: int = 50) -> builtins.list[StaleRow]:
        """List stale partitions, root causes first, up to the limit."""
        return [
            *(
                await self._connection.send(
                    Request(
                        "GET", "/stale", Page[StaleRow], query={"dataset": dataset, "limit": limit}
                    )
                )
            ).items
        ]


class AsyncStatusResource(AsyncResource):
    """`/status`."""

    async def get(self) -> Status:
        """Show unfinished and stuck work, positions of consumers, and workers."""
        return await self._connection.send(Request("GET", "/status", Status))


class AsyncTasksResource(AsyncResource):
    """`/tasks`."""

    async def claim(
        self,
        worker: str,
        *,
        runtimes: Sequence[str] | None = None,
        jobs: Sequence[str] | None = None,
        operators: Sequence[str] | None = None,
        limit: int = 1,
        lease_seconds: int = 30,
        wait: float = 0,
    ) -> Claimed:
        """Claim queued tasks, each with a token; wait for one if none is queued."""
        return await self._connection.send(
            Request(
                "POST",
                "/tasks/claim",
                Claimed,
                body={
                    "worker": worker,
                    "runtimes": optional(runtimes),
                    "jobs": optional(jobs),
                    "operators": optional(operators),
                    "limit": limit,
                    "lease_seconds": lease_seconds,
                    "wait": wait,
                },
            )
        )

    async def heartbeat(self, task: ClaimedTask, *, log: str | None = None) -> ExtendedTask:
        """Extend the lease of a claimed task, and store the output so far."""
        return await self._connection.send(
            Request(
                "POST",
                f"/tasks/{segment(task.id)}/heartbeat",
                ExtendedTask,
                body={"log": optional(log)},
                token=task.token,
            )
        )

    async def complete(
        self,
        task: ClaimedTask,
        *,
        outputs: Sequence[Output] | None = None,
        cursors: Mapping[str, str] | None = None,
        log: str = "",
    ) -> Reported:
        """Record the success of a claimed task, with its outputs."""
        return await self._connection.send(
            Request(
                "POST",
                f"/tasks/{segment(task.id)}/complete",
                Reported,
                body={"outputs": optional(outputs), "cursors": optional(cursors), "log": log},
                token=task.token,
            )
        )

    async def fail(
        self, task: ClaimedTask, error: str, *, retryable: bool = True, log: str = ""
    ) -> Reported:
        """Record the failure of an attempt at a claimed task."""
        return await self._connection.send(
            Request(
                "POST",
                f"/tasks/{segment(task.id)}/fail",
                Reported,
                body={"error": error, "retryable": retryable, "log": log},
                token=task.token,
            )
        )

    def list(
        self,
        *,
        status: Sequence[TaskStatus] | None = None,
        job: str | None = None,
        partition: str | None = None,
    ) -> AsyncPages[TaskRow]:
        """List tasks, newest first."""
        return AsyncPages(
            self._connection,
            Request(
                "GET",
                "/tasks",
                Page[TaskRow],
                query={"status": status, "job": job, "partition": partition},
            ),
        )

    async def retry_many(
        self,
        *,
        ids: Sequence[str | UUID] | None = None,
        job: str | None = None,
        statuses: Sequence[TaskStatus] | None = None,
    ) -> Retried:
        """Retry tasks by ids, all or none, or all failed or canceled ones of the org or of one job."""
        return await self._connection.send(
            Request(
                "POST",
                "/tasks/retry",
                Retried,
                body={"ids": optional(ids), "job": optional(job), "statuses": optional(statuses)},
            )
        )

    async def cancel_many(
        self,
        *,
        ids: Sequence[str | UUID] | None = None,
        job: str | None = None,
        statuses: Sequence[TaskStatus] | None = None,
    ) -> Canceled:
        """Cancel tasks by ids, all or none, or all in some statuses, of the org or of one job."""
        return await self._connection.send(
            Request(
                "POST",
                "/tasks/cancel",
                Canceled,
                body={"ids": optional(ids), "job": optional(job), "statuses": optional(statuses)},
            )
        )

    async def get(self, task: str | UUID) -> ExplainedTask:
        """Explain a task: causes, tasks upstream, inputs and attempts."""
        return await self._connection.send(Request("GET", f"/tasks/{segment(task)}", ExplainedTask))

    async def attempts(self, task: str | UUID, *, number: int | None = None) -> TaskLog:
        """Show the attempts at a task, with the ends of their logs."""
        return await self._connection.send(
            Request("GET", f"/tasks/{segment(task)}/attempts", TaskLog, query={"number": number})
        )

    async def retry(self, task: str | UUID) -> Retried:
        """Retry a failed or canceled task."""
        return await self._connection.send(
            Request("POST", f"/tasks/{segment(task)}/retry", Retried)
        )

    async def cancel(self, task: str | UUID) -> Canceled:
        """Cancel a task; dependents continue as if the outputs were unchanged."""
        return await self._connection.send(
            Request("POST", f"/tasks/{segment(task)}/cancel", Canceled)
        )


class AsyncUsersResource(AsyncResource):
    """`/users`."""

    def list(self) -> AsyncPages[User]:
        """List the users of the org, by e-mail address."""
        return AsyncPages(self._connection, Request("GET", "/users", Page[User]))

    async def create(
        self, email: str, role: Role, *, issuer: str | None = None, subject: str | None = None
    ) -> NamedUser:
        """Add a person to the org."""
        return await self._connection.send(
            Request(
                "POST",
                "/users",
                NamedUser,
                body={
                    "email": email,
                    "role": role,
                    "issuer": optional(issuer),
                    "subject": optional(subject),
                },
            )
        )

    async def set_role(self, user: str | UUID, role: Role) -> NamedUser:
        """Give a user another role, at once for all keys of the user as well."""
        return await self._connection.send(
            Request("POST", f"/users/{segment(user)}/role", NamedUser, body={"role": role})
        )

    async def delete(self, user: str | UUID) -> NamedUser:
        """Remove a user, with keys and memberships; records keep the name."""
        return await self._connection.send(Request("DELETE", f"/users/{segment(user)}", NamedUser))


class AsyncWebhooksResource(AsyncResource):
    """`/webhooks`."""

    def list(self) -> AsyncPages[WebhookRow]:
        """List the webhooks, with the last error of those that fail."""
        return AsyncPages(self._connection, Request("GET", "/webhooks", Page[WebhookRow]))

    async def create(
        self,
        name: str,
        url: str,
        *,
        kinds: Sequence[EventKind] | None = None,
        receiver: Receiver | None = None,
    ) -> AddedWebhook:
        """Add a webhook or another receiver; the response shows the secret of a webhook once."""
        return await self._connection.send(
            Request(
                "POST",
                "/webhooks",
                AddedWebhook,
                body={
                    "name": name,
                    "url": url,
                    "kinds": optional(kinds),
                    "receiver": optional(receiver),
                },
            )
        )

    async def delete(self, name: str) -> RemovedWebhook:
        """Remove a webhook."""
        return await self._connection.send(
            Request("DELETE", f"/webhooks/{segment(name)}", RemovedWebhook)
        )


class AsyncResources:
    """The resources of a server."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.access_changes = AsyncAccessChangesResource(connection)
        self.audit = AsyncAuditResource(connection)
        self.backfills = AsyncBackfillsResource(connection)
        self.dags = AsyncDagsResource(connection)
        self.datasets = AsyncDatasetsResource(connection)
        self.dead_letters = AsyncDeadLettersResource(connection)
        self.deploys = AsyncDeploysResource(connection)
        self.events = AsyncEventsResource(connection)
        self.health = AsyncHealthResource(connection)
        self.invalidations = AsyncInvalidationsResource(connection)
        self.jobs = AsyncJobsResource(connection)
        self.keys = AsyncKeysResource(connection)
        self.lineage = AsyncLineageResource(connection)
        self.me = AsyncMeResource(connection)
        self.org = AsyncOrgResource(connection)
        self.pauses = AsyncPausesResource(connection)
        self.plans = AsyncPlansResource(connection)
        self.positions = AsyncPositionsResource(connection)
        self.roles = AsyncRolesResource(connection)
        self.schedules = AsyncSchedulesResource(connection)
        self.search = AsyncSearchResource(connection)
        self.sessions = AsyncSessionsResource(connection)
        self.sources = AsyncSourcesResource(connection)
        self.stale = AsyncStaleResource(connection)
        self.status = AsyncStatusResource(connection)
        self.tasks = AsyncTasksResource(connection)
        self.users = AsyncUsersResource(connection)
        self.webhooks = AsyncWebhooksResource(connection)
