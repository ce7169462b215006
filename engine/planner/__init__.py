"""Compute plans from invalidations: the affected jobs and partitions, and the reasons.

The modules are listed in the order of planning; docs/explanation/planning.md gives the rules, each
with an example.

Decision: a `scope` gives the `dirty` parts of a dataset, and `extent` bounds open-ended scopes by
the `known` partitions. The `walk` goes down the lineage from there, `crossing` one edge at a time;
`strategy` derives the step of a triggered job, and `causes` tracks the responsible invalidations.
The result is a `plan`.

Work: the `tasks` of a step, the edges `crossed` to each task, the `inputs` of its partitions, the
scopes `propagated` to its readers, and the missing inputs for which a first run is `waiting`.

Explanation: the plan as a `document`, the `path` to a job, how two plans `compare`, the blast
`radius`, and the `size` limit for execution.
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
