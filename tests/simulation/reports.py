"""Reports of runs: the output partitions they mention, and the fingerprints they contain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from random import Random
from zlib import crc32

from engine.model.task import Completion
from engine.model.task import Output as ReportedOutput
from tests.simulation.dimensions import Key, text
from tests.simulation.rows import Partitions, Rows
from tests.simulation.world import Job, Output

Content = dict[str, dict[Key, Rows]]
"""Partitions by output."""
Partition = tuple[str, Key]


class ReportDetail(Enum):
    """Level of detail of a worker's report on its output."""

    NOTHING = "none"
    WHOLE = "fingerprint"
    COLUMNS = "fingerprints by column"


def report_detail(job: Job) -> ReportDetail:
    """Return the level of detail of a job's reports, drawn from its salt."""
    return [ReportDetail.NOTHING, ReportDetail.WHOLE, *[ReportDetail.COLUMNS] * 4][job.salt % 6]


@dataclass
class Gaps:
    """Gaps in a run's report.

    ``omitted`` partitions are not mentioned, and count as written and changed. ``partial``
    partitions have fingerprints for some columns only; partitions in ``unsigned`` have no
    fingerprint for the whole content.
    """

    omitted: set[Partition] = field(default_factory=set)
    partial: dict[Partition, frozenset[str]] = field(default_factory=dict)
    unsigned: set[Partition] = field(default_factory=set)

    @staticmethod
    def drawn(rng: Random, job: Job, content: Content) -> Gaps:
        """Draw gaps for about half of a run's report.

        A run following rows must mention every partition it wrote.
        """
        gaps = Gaps()
        for output in job.outputs:
            for key, rows in content[output.name].items():
                gaps._draw(rng, job, output, key, rows)
        return gaps

    def _draw(self, rng: Random, job: Job, output: Output, key: Key, rows: Rows) -> None:
        chance, partition = rng.random(), (output.name, key)
        if not job.follows and (chance < 0.2 or (job.may_be_empty and not rows)):
            self.omitted.add(partition)
        elif (
            chance < 0.5 and report_detail(job) is ReportDetail.COLUMNS and len(output.columns) > 1
        ):
            count = rng.randrange(1, len(output.columns))
            self.partial[partition] = frozenset(rng.sample(output.columns, count))
            if chance < 0.3:
                self.unsigned.add(partition)

    def detail(self, job: Job, partition: Partition) -> ReportDetail:
        """Return the level of detail a report has for a partition."""
        if partition in self.omitted or partition in self.unsigned:
            return ReportDetail.NOTHING
        return ReportDetail.WHOLE if partition in self.partial else report_detail(job)

    def is_incomparable(self, partition: Partition) -> bool:
        """Return whether the next run counts as changed for lack of a comparison."""
        return partition in self.omitted or partition in self.unsigned


def reported(job: Job, content: Mapping[str, Partitions], gaps: Gaps) -> tuple[ReportedOutput, ...]:
    return tuple(
        _reported(job, output, key, rows, gaps)
        for output in job.outputs
        for key, rows in content[output.name].items()
        if (output.name, key) not in gaps.omitted
    )


def falsified(job: Job, completion: Completion, seed: int) -> Completion:
    """Return the report with an additional output that the task cannot have produced."""
    dataset = job.outputs[0].name
    invalid = [
        ReportedOutput("no such dataset", "*"),
        ReportedOutput(dataset, "no such/partition=\x1b[2J"),
    ]
    invalid += [ReportedOutput(read.dataset, "*") for read in job.upstream_reads]
    return replace(completion, outputs=(*completion.outputs, invalid[seed % len(invalid)]))


def _reported(job: Job, output: Output, key: Key, rows: Rows, gaps: Gaps) -> ReportedOutput:
    partition, detail = text(job.space, key), report_detail(job)
    if detail is ReportDetail.NOTHING:
        return ReportedOutput(output.name, partition)
    whole = None if (output.name, key) in gaps.unsigned else _hash(sorted(rows.items()))
    if detail is ReportDetail.WHOLE:
        return ReportedOutput(output.name, partition, whole)
    named = gaps.partial.get((output.name, key), output.columns)
    # The ids are hashed too, so adding or removing rows changes every column's hash.
    columns = {
        c: _hash([(n, row[c]) for n, row in sorted(rows.items())])
        for c in output.columns
        if c in named
    }
    return ReportedOutput(output.name, partition, whole, column_fingerprints=columns)


def _hash(content: object) -> str:
    return str(crc32(repr(content).encode()))
