"""Track OpenLineage runs: outputs named only in an earlier event count when the run ends.

A failed run may have written all the same, and so may a run without a reported end. The latter
counts after a week, and once more if the end arrives within the following month.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby
from operator import attrgetter
from uuid import UUID

import msgspec

from engine.model.event import Delivery, Received, Rejection, RunReports, rejection
from engine.model.run_report import RunOutput, RunReport
from engine.store.database import Connection
from engine.store.rows.runs import AnnouncedOutput, AnnouncedOutputs
from engine.store.run import execute, fetch, fetch_one

MOST = 100_000
"""Limit on the outputs stored per feed."""

_LOST = "ABORT"
"""Event type used for the end of a run if no end was reported."""


@dataclass(frozen=True, slots=True)
class Ends:
    """Events and rejections for outputs announced before the end of their runs.

    ``unnamed`` counts the runs that ended without naming an output announced earlier.
    """

    received: list[Received] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    unnamed: int = 0


async def end_runs(conn: Connection, org_id: UUID, runs: Sequence[RunReports]) -> Ends:
    """Store announced outputs, and return the outputs of ended runs.

    Must run in the transaction that advances the position past the events.
    """
    received: list[Received] = []
    rejections: list[Rejection] = []
    unnamed = 0
    for of_feed in sorted(runs, key=attrgetter("feed")):
        await execute(conn, "runs.lock", org_id=org_id, feed=of_feed.feed)
        rejections += await _announce(conn, org_id, of_feed)
        for delivery in await _ended(conn, org_id, of_feed):
            unnamed += 1
            outcome = of_feed.read(delivery)
            if isinstance(outcome, Rejection):
                rejections.append(outcome)
            else:
                received += outcome
        await execute(conn, "runs.delete_expired", org_id=org_id, feed=of_feed.feed)
        await execute(conn, "runs.delete_ends", org_id=org_id, feed=of_feed.feed)
    return Ends(received, rejections, unnamed)


async def _announce(conn: Connection, org_id: UUID, runs: RunReports) -> list[Rejection]:
    """Store outputs announced before the end of a run; reject them at the limit."""
    unended = [report for report in runs.reports if not report.is_end and report.outputs]
    if not unended:
        return []
    row = await fetch_one(
        conn, "runs.announced", AnnouncedOutputs, org_id=org_id, feed=runs.feed, most=MOST
    )
    if row and row.outputs >= MOST:
        return [_refused(report) for report in unended]
    pairs = [(report, output) for report in unended for output in report.outputs]
    await execute(
        conn,
        "runs.announce",
        org_id=org_id,
        feed=runs.feed,
        runs=[report.run for report, _ in pairs],
        digests=[sha256(output.text.encode()).hexdigest() for _, output in pairs],
        namespaces=[output.namespace for _, output in pairs],
        names=[output.name for _, output in pairs],
        outputs=[output.text for _, output in pairs],
        wholes=[output.is_whole for _, output in pairs],
        streams=[report.stream for report, _ in pairs],
        positions=[report.position for report, _ in pairs],
    )
    return []


def _refused(report: RunReport) -> Rejection:
    ended = msgspec.structs.replace(report, kind="COMPLETE")
    return rejection(
        Delivery(report.stream, report.position, _message(ended, report.outputs)),
        f"{MOST} outputs of runs that have not ended are stored already; replay this letter "
        "when the run has ended, or let its last event name its outputs",
    )


async def _ended(conn: Connection, org_id: UUID, runs: RunReports) -> list[Delivery]:
    """Return for each ended run an event with the outputs missing from its final event."""
    ends = [report for report in runs.reports if report.is_end]
    if ends:
        names = [end.run for end in ends]
        await execute(conn, "runs.end", org_id=org_id, feed=runs.feed, runs=names)
    run_ids = list({report.run for report in runs.reports})
    rows = await fetch(
        conn, "runs.take", AnnouncedOutput, org_id=org_id, feed=runs.feed, runs=run_ids
    )
    lost = await fetch(conn, "runs.expire", AnnouncedOutput, org_id=org_id, feed=runs.feed)
    reports = {end.run: end for end in ends}
    named = {(end.run, out.namespace, out.name) for end in ends for out in end.outputs}
    unnamed = [
        row for row in rows if row.is_whole or (row.run, row.namespace, row.name) not in named
    ]
    deliveries = [_delivery(reports.get(run), run, of_run) for run, of_run in _by_run(unnamed)]
    return deliveries + [_delivery(None, run, of_run, _LOST) for run, of_run in _by_run(lost)]


def _by_run(rows: Iterable[AnnouncedOutput]) -> list[tuple[str, list[AnnouncedOutput]]]:
    by_run = groupby(sorted(rows, key=attrgetter("run")), key=attrgetter("run"))
    return [(run, list(of_run)) for run, of_run in by_run]


def _delivery(
    end: RunReport | None, run: str, rows: Sequence[AnnouncedOutput], kind: str = "COMPLETE"
) -> Delivery:
    """Build the final event of a run with the outputs of the rows, at the position of the end.

    Without a final event, because the announcement came late or the end is unknown, the event has
    the position of the announcement.
    """
    first = rows[0]
    end = end or RunReport(
        run=run,
        kind=kind,
        is_end=True,
        outputs=(),
        stream=first.stream,
        position=first.position,
    )
    outputs = [
        RunOutput(
            namespace=row.namespace,
            name=row.name,
            text=row.output,
            is_whole=row.is_whole,
        )
        for row in rows
    ]
    return Delivery(end.stream, f"{end.position}#announced", _message(end, outputs))


def _message(report: RunReport, outputs: Iterable[RunOutput]) -> bytes:
    message = {
        "eventType": report.kind,
        "run": {"runId": report.run},
        "job": report.job and {"namespace": report.job[0], "name": report.job[1]},
        "outputs": [msgspec.Raw(output.text.encode()) for output in outputs],
    }
    return msgspec.json.encode(message)
