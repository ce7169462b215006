"""Compute plans from invalidations: the affected jobs and partitions, and the reasons.

The modules are listed in the order of planning; docs/explanation/planning.md gives the rules, each
with an example.

Decision: a `scope` gives the `dirty` parts of a dataset, with the `bounds` of open-ended scopes
from a `lookup` of its partitions. The `closure` visits the lineage from there, one `edge` at a
time; `strategy` derives the step of a triggered job, and `provenance` tracks the invalidations
behind it. The result is a `plan`.

Work: the tasks of a step as `blocks` of partitions, the `triggering_edges` of each task, the
`inputs` of its partitions, the scopes `propagated` to its readers, and the inputs missing for
`first_runs`.

Explanation: the plan as a `document`, the `path` to a job, how two plans `compare`, and the
`limits` on a plan.
"""

from engine.planner.blocks import TaskBlock, cached_step_blocks, step_blocks, task_count
from engine.planner.chains import continued_partitions
from engine.planner.closure import plan
from engine.planner.compare import Difference, DifferenceKind, differences
from engine.planner.document import document, hops_of, partitions_of
from engine.planner.first_runs import (
    expected_partitions,
    first_run_is_due,
    is_expected,
    missing_inputs,
)
from engine.planner.in_being import begun_between, in_being
from engine.planner.inputs import input_partitions, upstream
from engine.planner.limits import LimitExceeded, check_size, exceeded_limits
from engine.planner.lookup import (
    MOST_LOOKED_UP,
    LoadedPartitions,
    MissingState,
    PartitionLookup,
    lookup_in,
)
from engine.planner.other_inputs import InputChange, reading_otherwise, reads_otherwise
from engine.planner.path import path_to
from engine.planner.plan import Changed, Plan, Pruned, PruningRule, Step, Trigger
from engine.planner.propagated import (
    ALL_SCOPES,
    Propagated,
    parse_propagated,
    propagated_scopes,
)
from engine.planner.retained import given_partitions, retained_partitions
from engine.planner.triggering_edges import TriggeringEdges, triggering_edges_of

__all__ = [
    "Changed",
    "TriggeringEdges",
    "Difference",
    "DifferenceKind",
    "InputChange",
    "LimitExceeded",
    "LoadedPartitions",
    "MOST_LOOKED_UP",
    "Trigger",
    "PartitionLookup",
    "MissingState",
    "Plan",
    "Propagated",
    "ALL_SCOPES",
    "parse_propagated",
    "Pruned",
    "PruningRule",
    "Step",
    "TaskBlock",
    "check_size",
    "continued_partitions",
    "reading_otherwise",
    "reads_otherwise",
    "begun_between",
    "in_being",
    "triggering_edges_of",
    "differences",
    "document",
    "exceeded_limits",
    "expected_partitions",
    "first_run_is_due",
    "given_partitions",
    "is_expected",
    "hops_of",
    "input_partitions",
    "missing_inputs",
    "cached_step_blocks",
    "partitions_of",
    "path_to",
    "plan",
    "lookup_in",
    "propagated_scopes",
    "retained_partitions",
    "task_count",
    "step_blocks",
    "upstream",
]
