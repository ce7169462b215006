"""Jobs that read earlier partitions of their own output, such as a running balance.

The partitions of such a job form chains, each built in order along a single dimension.
"""

from collections.abc import Iterator
from typing import Any

from engine.errors import InvalidMapping
from engine.lineage.catalog import DagContext
from engine.model.dag import OWN_OUTPUT, Input, JobSpec
from engine.model.source_positions import Path, Problem
from engine.model.states import Activation, ExecutionStrategy
from engine.partitions import Mapping, PartitionSpace
from engine.partitions.mapping.chain import chained_dimension

_FORM = f"write {{dataset: {OWN_OUTPUT}, window: [-1, -1]}}"


def is_self_read(job: JobSpec, read: Input) -> bool:
    """Return True if an input is an output of its own job."""
    return read.dataset in {output.dataset for output in job.outputs}


def datasets_of_others(job: JobSpec) -> list[str]:
    """Return the names of the datasets that a job reads, without its own output."""
    return [read.dataset for read in job.inputs if not is_self_read(job, read)]


def mapping_spec(read: Input, source: PartitionSpace) -> Any:
    """Return the mapping of an input; a ``window`` is one of the only ordered dimension."""
    if read.window is None:
        return read.mapping
    ordered = [name for name, dimension in source.dimensions if dimension.is_ordered]
    chained = {name: {"from": name, "window": list(read.window)} for name in ordered[:1]}
    return {name: chained.get(name, name) for name in source.names}


def check_self_read(job: JobSpec, path: Path, context: DagContext) -> Iterator[Problem]:
    """Report the forms in which a job cannot read its own output."""
    for o, output in enumerate(job.outputs):
        if output.dataset == OWN_OUTPUT:
            at = (*path, "outputs", o, "dataset")
            yield Problem(at, f"{OWN_OUTPUT!r} stands for a job's own output: write another name")
    own = [i for i, read in enumerate(job.inputs) if is_self_read(job, read)]
    for i, read in enumerate(job.inputs):
        if read.window is not None and i not in own:
            yield Problem(
                (*path, "inputs", i, "window"),
                "only an input that is the job's own output has this key: write mapping: "
                "{dimension: {from: dimension, window: [first, last]}}",
            )
    for i in own:
        at = (*path, "inputs", i)
        problem = _job_problem(job, len(own)) or _mapping_problem(job, job.inputs[i], context)
        if problem:
            yield Problem(at, problem)


def _job_problem(job: JobSpec, count: int) -> str | None:
    if job.activation == Activation.SOURCE:
        return None  # reported as an input of a source
    if job.execution_strategy != ExecutionStrategy.PER_PARTITION:
        return (
            f"a {job.execution_strategy} job builds all partitions in one run and cannot read its "
            "own output: set execution_strategy: PerPartition"
        )
    if len(job.outputs) > 1:
        return "a job that reads its own output has a single output: write a job for each"
    if count > 1:
        return "the job reads its own output twice: write one input with the union of the windows"
    if len(job.inputs) == 1:
        return (
            "the job reads nothing but its own output: add another input, which determines the "
            "partitions"
        )
    if job.scaling.partitions_per_task != 1:
        return (
            "a task of a job that reads its own output builds one partition, after the earlier "
            "ones: delete partitions_per_task"
        )
    return None


def _mapping_problem(job: JobSpec, read: Input, context: DagContext) -> str | None:
    """Return the problem of a mapping other than to earlier partitions of the same chain."""
    if read.on_failure == "ignore":
        return "the partitions are built in order, after the earlier ones: delete on_failure"
    if read.dataset not in context.readable:
        return None
    space = context.space(read.dataset)
    if read.window is None and read.mapping is None:
        return f"the job reads its own output: {_FORM}"
    if read.window is not None:
        if read.mapping is not None:
            return "the input has both window and mapping: delete one of them"
        if sum(dimension.is_ordered for _, dimension in space.dimensions) != 1:
            return (
                f"{read.dataset!r} does not have exactly one time or range dimension: write "
                "mapping with an entry for each dimension, one of them with a window"
            )
    spec = mapping_spec(read, space)
    try:
        mapping = Mapping.from_spec(spec, space, space)
    except InvalidMapping:
        return None  # reported as a mapping
    return _not_earlier(read) if chained_dimension(mapping) is None else None


def _not_earlier(read: Input) -> str:
    return (
        f"a job can read only earlier partitions of its own output {read.dataset!r}, in one time "
        "or range dimension, with all other dimensions mapped to themselves, and a window that "
        "ends before 0: write for example window: [-1, -1]"
    )
