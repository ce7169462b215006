"""From invalidations to a plan: which jobs, which partitions, and why.

Read it in the order of planning; docs/explanation/planning.md has the rules with an example each.

The decision: a `scope` says what is `dirty` of a dataset, and `extent` how far that reaches where
it has no end (by what is `known`). The `walk` goes down the lineage from there, `crossing` one edge
at a time; `strategy` says what a job makes of what hit it, `causes` which invalidations did. The
result is a `plan`.

The work: a step's `tasks`, the edges `crossed` to each, the `inputs` that they are made from, what
a first run is `waiting` for.

The account: the plan as a `document`, the `path` that led to a job, how two plans `compare`, the
`radius` of the blast, and the `size` that can be carried out.
"""

from engine.planner.compare import Difference, differences
from engine.planner.crossed import Crossed, crossed_to
from engine.planner.document import document, hops_of
from engine.planner.first_runs import expected_partitions, first_run_is_due
from engine.planner.inputs import input_partitions, upstream
from engine.planner.known import Known, KnownNeeded, prefetched
from engine.planner.path import path_to
from engine.planner.plan import Changed, Hit, Plan, Pruned, Step
from engine.planner.propagated import Propagated, propagated_scopes
from engine.planner.radius import Excess, excesses, radius
from engine.planner.size import check_size
from engine.planner.tasks import TaskNeed, needs_of_steps, task_count, task_needs
from engine.planner.waiting import missing_inputs
from engine.planner.walk import plan

__all__ = [
    "Changed",
    "Crossed",
    "Difference",
    "Excess",
    "Hit",
    "Known",
    "KnownNeeded",
    "Plan",
    "Propagated",
    "Pruned",
    "Step",
    "TaskNeed",
    "check_size",
    "crossed_to",
    "differences",
    "document",
    "excesses",
    "expected_partitions",
    "first_run_is_due",
    "hops_of",
    "input_partitions",
    "missing_inputs",
    "needs_of_steps",
    "path_to",
    "plan",
    "prefetched",
    "propagated_scopes",
    "radius",
    "task_count",
    "task_needs",
    "upstream",
]
