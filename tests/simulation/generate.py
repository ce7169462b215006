"""Random worlds, each from a single seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from tests.simulation.dimensions import Dimension, Space
from tests.simulation.mapping import Link, Read
from tests.simulation.reads import any_read, grouped_read, same_read, whole_read
from tests.simulation.spaces import ANCHORS, PartitioningGenerator
from tests.simulation.world import EVERY, GROUP, Job, Output, World

MAX_JOBS = 9
COLUMNS = ("x", "y", "z")
EIGHT_RANGES = (Dimension("n", "range", size=10, bounds=(0, 8)),)


def another_job(rng: Random, world: World) -> Job:
    """Return a job reading existing datasets."""
    times = (d.anchor for job in world.jobs for d in job.space if d.kind == "time")
    alphabet = world.sources[0].alphabet
    generator = WorldGenerator(
        rng, PartitioningGenerator(rng, "UTC", next(times, ANCHORS["UTC"]), alphabet)
    )
    return generator.job(100 + rng.randrange(10_000), max(world.dags), world.jobs)


@dataclass
class WorldGenerator:
    """Generator of worlds and of additional jobs."""

    rng: Random
    partitionings: PartitioningGenerator

    # -- graphs --------------------------------------------------------------------------------

    def any_world(self, max_jobs: int = MAX_JOBS) -> World:
        dags = ["one", "two"][: self.rng.choice([1, 1, 2])]
        is_mutual = self.rng.random() < 0.3
        jobs = [self.source(0, "one")]
        for n in range(1, self.rng.randint(2, max_jobs)):
            dag = self.rng.choice(dags)
            among = jobs if is_mutual else [job for job in jobs if job.dag <= dag]
            is_source = n > 1 and self.rng.random() < 0.25
            jobs.append(self.source(n, dag) if is_source else self.job(n, dag, among))
        return World(tuple(jobs))

    def ladder(self, rungs: int) -> World:
        """Return a world of diamonds, each below the last."""
        jobs = [self.source(0, "one")]
        for n in range(rungs):
            top = jobs[-1]
            left, right = (self._straight(3 * n + i, [top]) for i in (1, 2))
            jobs += [left, right, self._straight(3 * n + 3, [left, right])]
        return World(tuple(jobs))

    def chain(self, length: int) -> World:
        jobs = [self.source(0, "one")]
        for n in range(1, length):
            jobs.append(self._straight(n, [jobs[-1]]))
        return World(tuple(jobs))

    def narrow(self, space: Space | None = None) -> World:
        """Return a world with narrow readers of a job that may leave its output unchanged.

        The job reads columns of a source, and a result that may be unchanged; its readers read one
        or two columns each. Most jobs report only a fingerprint of the whole output.
        """
        source = replace(self.source(0, "one"), declares_columns=True, grows=False)
        space = self.rng.choice([(), (), source.space]) if space is None else space
        top, side = (
            replace(source, name=f"src{n}", space=space, outputs=(Output(f"s{n}", COLUMNS[:2]),))
            for n in range(2)
        )
        arm = replace(self._narrow_job(2, {"x": (top, "x")}), modulus=2)
        to_arm = self.rng.choice([{}, {"z": (arm, "x")}])
        both = self._narrow_job(3, {"x": (top, "x"), "y": (top, "y")} | to_arm, [top, arm])
        jobs = [top, side, arm, both]
        for n in range(4, 8):
            column, other = "xy"[n % 2], self.rng.choice([{}, {"y": (side, "x")}])
            having = [job for job in jobs[3:] if column in job.outputs[0].columns]
            jobs.append(self._narrow_job(n, {"x": (self.rng.choice(having), column)} | other))
        return World(tuple(jobs))

    def forked(self, columns: int = 2, space: Space | None = None) -> World:
        """Return a world where a job derives each column from another, for separate readers."""
        named = COLUMNS[:columns]
        source = replace(self.source(0, "one"), declares_columns=True, grows=False)
        space = self.rng.choice([(), (), source.space]) if space is None else space
        source = replace(source, space=space, outputs=(Output("s0", named),))
        fork = self._narrow_job(1, {column: (source, column) for column in named}, [source])
        arms = [
            self._narrow_job(n, {"x": (fork, named[n % columns])}) for n in range(2, 2 + columns)
        ]
        below = self._narrow_job(2 + columns, {"x": (self.rng.choice(arms), "x")})
        return World((source, fork, *arms, below))

    def damped(self, space: Space | None = None) -> World:
        """Return a chain, mostly of SQL jobs, below a job whose output never changes."""
        source = self.source(0, "one")
        space = self.rng.choice([(), (), (), source.space]) if space is None else space
        source = replace(source, space=space)
        first = self._straight(1, [source])
        jobs = [source, replace(first, modulus=1, salt=6 * first.salt + self.rng.randint(1, 5))]
        for n in (2, 3, 4):
            job = replace(self._straight(n, [jobs[-1]]), modulus=1_000_003)
            jobs.append(replace(job, salt=job.salt - job.salt % 5))
        return World(tuple(jobs))

    def bounded(self) -> World:
        """Return a world of a source with bounded partitions and two readers."""
        source = replace(self.source(0, "one"), space=(self.partitionings.bounded_dimension(),))
        jobs = [source, self._straight(1, [source]), self.job(2, "one", [source])]
        return World(tuple(jobs))

    def joined(self) -> World:
        """Return a world where a job reads partitions of a source, and another source in full."""
        source = replace(self.source(0, "one"), declares_columns=True, grows=False)
        partitioned = replace(source, space=EIGHT_RANGES, outputs=(Output("s0", COLUMNS[:2]),))
        whole = replace(source, name="src1", space=(), outputs=(Output("s1", COLUMNS[:2]),))
        lineage_of = {"x": (partitioned, "x"), "y": (whole, "x"), "z": (whole, "y")}
        job = self._narrow_job(2, lineage_of, [partitioned])
        return World((partitioned, whole, replace(job, reads=(*job.reads, whole_read("s1")))))

    def beside(self) -> World:
        """Return a world where a job reads a source and the output of a job over another source."""
        source = replace(self.source(0, "one"), space=(), declares_columns=True, grows=False)
        one = replace(source, outputs=(Output("s0", COLUMNS[:2]),))
        other = replace(source, name="src1", outputs=(Output("s1", COLUMNS[:2]),))
        upper = reading_all(self._straight(2, [one]))
        upper = replace(upper, salt=6 * upper.salt + 1, modulus=1_000_003)
        lineage_of = {
            "x": (upper, upper.outputs[0].columns[0]),
            "y": (other, "x"),
            "z": (other, "y"),
        }
        lower = self._narrow_job(3, lineage_of, [upper, other])
        lower = replace(lower, salt=25 + 30 * lower.salt)  # an SQL job
        return World((one, other, upper, lower))

    def windowed(self) -> World:
        """Return a world where jobs read a window, or the last, of the partitions of an input."""
        source = replace(
            self.source(0, "one"), space=EIGHT_RANGES, declares_columns=True, grows=False
        )
        copy = self._straight(1, [source])
        spec = {"n": {"from": "n", "window": [-1, 1]}}
        adjacent = Read("d1", (Link(0, 0, window=(-1, 1)),), spec=spec)
        window = replace(self._straight(2, [copy]), reads=(adjacent,))
        below = replace(self._straight(3, [window]), dag="two")
        last = Read("d1", latest=0, spec="last")
        newest = self._job(4, "one", space=(), reads=[last], of=[copy])
        derived = (
            replace(reading_all(job), modulus=1_000_003, per_task=1)
            for job in (copy, window, below, newest)
        )
        return World((source, *derived))

    def listed(self) -> World:
        """Return a world where jobs read all, the last, or mapped keys of a list."""
        space = (Dimension("o", "static", keys=("A", "B", "C")),)
        target = (Dimension("r", "static", keys=("X", "Y")),)
        source = replace(self.source(0, "one"), space=space, declares_columns=True, grows=False)
        copy = self._straight(1, [source])
        table = (("A", ("X",)), ("B", ("X", "Y")))
        spec = {"r": {"from": "o", "map": {key: [*targets] for key, targets in table}}}
        mapped = Read("d1", (Link(0, 0, keymap=table),), spec=spec)
        reads = (Read("d1", spec="all"), (), "one"), (Read("d1", latest=0, spec="last"), (), "two")
        jobs = [
            self._job(n, dag, space=to, reads=[read], of=[copy])
            for n, (read, to, dag) in enumerate((*reads, (mapped, target, "one")), start=2)
        ]
        derived = (replace(reading_all(job), modulus=1_000_003, per_task=1) for job in jobs)
        return World((source, replace(reading_all(copy), per_task=1), *derived))

    def grouped(self, kind: str = "rows") -> World:
        """Return a world where a job reads rows by group, and an output that never changes."""
        source = replace(self.source(0, "one"), space=(), declares_columns=True, grows=False)
        by_group = replace(source, outputs=(Output("s0", (*COLUMNS[:2], GROUP)),))
        other = replace(source, name="src1", outputs=(Output("s1", COLUMNS[:2]),))
        rows, same = self._straight(2, [by_group]), self._straight(3, [other])
        rows = replace(rows, kind=kind, outputs=(Output("d2", (*COLUMNS[:2], GROUP)),))
        rows = replace(rows, salt=6 * rows.salt + 5, modulus=1_000_003)
        same = replace(same, salt=6 * same.salt + 5, modulus=1)
        reads = (Read("d2", spec="all", grouped=0), whole_read("d3"))
        groups = (Dimension("o", "static", keys=self.partitionings.alphabet),)
        below = self._job(4, "one", space=groups, reads=reads, of=[rows, same])
        below = replace(reading_all(below), per_task=1)
        return World((by_group, other, rows, reading_all(same), below))

    def following(self) -> World:
        source = replace(self.source(0, "one"), declares_columns=True, grows=True)
        other = self.source(1, "one")
        jobs = [source, other, _copying(self._follower(2, "one", source, [source, other]))]
        jobs.append(self.job(3, "one", jobs))
        return World(tuple(jobs))

    # -- jobs ----------------------------------------------------------------------------------

    def source(self, n: int, dag: str) -> Job:
        columns = COLUMNS[: self.rng.randint(2, 3)]
        declares_columns = self.rng.random() < 0.75
        return Job(
            name=f"src{n}",
            dag=dag,
            space=self.partitionings.space(),
            outputs=(Output(f"s{n}", (*columns, GROUP) if self.rng.random() < 0.6 else columns),),
            declares_columns=declares_columns,
            grows=declares_columns and self.rng.random() < 0.4,
            alphabet=self.partitionings.alphabet,
        )

    def job(self, n: int, dag: str, among: Sequence[Job]) -> Job:
        """Return a job reading one to three of the given jobs' datasets."""
        count = min(len(among), self.rng.choice([1, 1, 2, 2, 3]))
        # Newer datasets are read more often, which gives chains and ladders, not only fans.
        producers = sorted(self.rng.sample(among, count), key=lambda job: job.name)
        if among[-1] not in producers and self.rng.random() < 0.5:
            producers[0] = among[-1]
        kind = self.rng.random()
        if kind < 0.15:
            return self._rows(n, dag, producers)
        growing = [job for job in among if job.grows]
        if kind < 0.35 and growing:
            return self._follower(n, dag, self.rng.choice(growing), producers)
        return self._folding(n, dag, producers)

    def _folding(self, n: int, dag: str, producers: Sequence[Job]) -> Job:
        """Return a job computing a single row from all inputs, possibly per group."""
        space = self.partitionings.target(self.rng.choice(producers).space)
        grouped = [m for m in producers if GROUP in m.outputs[0].columns]
        if grouped and self.rng.random() < 0.5:
            space = self.partitionings.with_additional_dimension(space, {"static"})
        reads = self._reads(producers, space)
        strategy = "Full" if self.rng.random() < 0.12 else "PerPartition"
        names = [f"d{n}", f"e{n}"][: self.rng.choice([1, 1, 1, 2])]
        return self._job(
            n, dag, space=space, strategy=strategy, reads=reads, names=names, of=producers
        )

    def _reads(self, producers: Sequence[Job], space: Space) -> Iterator[Read]:
        """Yield reads, at most one by group, since a DAG file can declare only one."""
        grouped = False
        for producer in producers:
            output, read = self.rng.choice(producer.outputs), None
            if not grouped and GROUP in output.columns and self.rng.random() < 0.7:
                read = grouped_read(self.rng, output.name, producer.space, space)
                grouped = read is not None
            yield read or any_read(self.rng, output.name, producer.space, space)

    def _rows(self, n: int, dag: str, producers: Sequence[Job]) -> Job:
        """Return a job computing a row per row of the first input, or with joins or windows."""
        with_rows = [producer for producer in producers if producer.has_rows]
        if not with_rows:
            return self._folding(n, dag, producers)
        main = self.rng.choice(with_rows)
        space = main.space
        reads = [same_read(main.outputs[0].name, space)]
        others = [producer for producer in producers if producer is not main][:1]
        reads += [any_read(self.rng, o.outputs[0].name, o.space, space) for o in others]
        kind = self.rng.choice(["rows", "rows", "window"])
        append = kind == "rows" and main.grows and self.rng.random() < 0.5
        job = self._job(n, dag, space=space, kind=kind, reads=reads, of=[main, *others])
        return replace(job, append=append)

    def _follower(self, n: int, dag: str, source: Job, producers: Sequence[Job]) -> Job:
        """Return a job following new rows of a growing source, possibly by group."""
        dataset = source.outputs[0].name
        grouped = GROUP in source.outputs[0].columns and self.rng.random() < 0.6
        space: Space = (
            (Dimension("k", "dynamic", keys=self.partitionings.alphabet),) if grouped else ()
        )
        reads = [replace(whole_read(dataset), cursor=True, grouped=0 if grouped else None)]
        others = [m for m in producers if m is not source][:1]
        reads += [whole_read(other.outputs[0].name) for other in others]
        job = self._job(
            n,
            dag,
            space=space,
            strategy="PerUpdate",
            kind="rows",
            reads=reads,
            of=[source, *others],
        )
        return replace(job, append=True)

    def _straight(self, n: int, producers: Sequence[Job]) -> Job:
        space = producers[0].space
        reads = [same_read(producer.outputs[0].name, space) for producer in producers]
        return self._job(n, "one", space=space, reads=reads, of=producers)

    def _narrow_job(
        self, n: int, lineage_of: Mapping[str, tuple[Job, str]], producers: Sequence[Job] = ()
    ) -> Job:
        """Return a job whose columns each derive from a single other column."""
        job = self._straight(n, producers or [producer for producer, _ in lineage_of.values()])
        lineage = {
            to: ((producer.outputs[0].name, of),) for to, (producer, of) in lineage_of.items()
        }
        salt = 6 * (job.salt // 6) + 1 if self.rng.random() < 0.8 else job.salt
        outputs = (Output(f"d{n}", tuple(lineage), tuple(lineage.items())),)
        return replace(job, outputs=outputs, salt=salt, modulus=1_000_003)

    def _job(
        self,
        n: int,
        dag: str,
        *,
        space: Space,
        reads: Iterable[Read],
        of: Sequence[Job],
        strategy: str = "PerPartition",
        kind: str = "fold",
        names: Sequence[str] = (),
    ) -> Job:
        reads = tuple(reads)
        inputs = [
            producer.outputs[_output_index(producer, read)]
            for producer, read in zip(of, reads, strict=True)
        ]
        outputs = [self._output(name, kind, reads, inputs) for name in names or [f"d{n}"]]
        return Job(
            name=f"job{n}",
            dag=dag,
            space=space,
            outputs=tuple(outputs),
            reads=reads,
            strategy=strategy,
            kind=kind,
            salt=self.rng.randrange(1000),
            modulus=self.rng.choice([1, 2, 2, 3, 1_000_003, 1_000_003, 1_000_003]),
            per_task=self.rng.choice([1, 1, 1, 2, 3]),
            max_attempts=self.rng.choice([1, 2, 3]),
            max_concurrency=self.rng.choice([None] * 9 + [1]),
            is_manual=self.rng.random() < 0.05,
        )

    def _output(
        self, name: str, kind: str, reads: Sequence[Read], inputs: Sequence[Output]
    ) -> Output:
        columns = COLUMNS[: self.rng.randint(1, 3)]
        has_groups = kind != "fold" and GROUP in inputs[0].columns
        columns = (*columns, GROUP) if has_groups else columns
        if self.rng.random() < 0.2:
            return Output(name, columns)
        declared = [source for source in inputs if self.rng.random() < 0.85]
        pairs = [(source.name, column) for source in declared for column in source.columns]
        lineage = {
            column: tuple(sorted(self.rng.sample(pairs, min(len(pairs), self.rng.randint(0, 2)))))
            for column in columns
        }
        every = {self.rng.choice(pairs)} if pairs and self.rng.random() < 0.2 else set()
        # A column used to keep groups of rows separate affects every output column.
        every |= {(r.dataset, GROUP) for r in reads if r.grouped is not None}
        if has_groups:
            lineage[GROUP] = ((inputs[0].name, GROUP),)
        if every:
            lineage[EVERY] = tuple(sorted(every))
        return Output(name, columns, tuple(sorted(lineage.items())))


def reading_all(job: Job) -> Job:
    """Return the job without column lineage, so that it reads all columns."""
    return replace(job, outputs=tuple(replace(output, lineage=None) for output in job.outputs))


def _copying(follower: Job) -> Job:
    """Return the job with two columns derived from the same columns of the followed rows."""
    (output,), source = follower.outputs, follower.reads[0].dataset
    lineage = {column: ((source, column),) for column in (*COLUMNS[:2], GROUP)}
    columns = (*COLUMNS[:2], *(c for c in output.columns if c == GROUP))
    declared = {column: lineage[column] for column in columns}
    if follower.reads[0].grouped is not None:
        declared[EVERY] = lineage[GROUP]
    copy = replace(output, columns=columns, lineage=tuple(sorted(declared.items())))
    return replace(follower, outputs=(copy,), modulus=1_000_003)


def _output_index(producer: Job, read: Read) -> int:
    return [output.name for output in producer.outputs].index(read.dataset)


__all__ = ["EIGHT_RANGES", "WorldGenerator", "another_job", "reading_all"]
