"""From invalidations to a plan: which jobs, which partitions, and why.

`walk` goes down the lineage from each `scope`, `crossing` one edge at a time; `strategy` says what
a job makes of what hit it, `extent` where a set without an end ends, `dirt` how it all stays small.
`tasks`, `inputs` and `waiting` turn a step into work; `document` and `path` tell of it, `compare`
how it differs from another, `radius` how much it is.
"""

from engine.planner.compare import Difference, differences
from engine.planner.document import document
from engine.planner.inputs import input_partitions, upstream
from engine.planner.known import Known, KnownNeeded, prefetched
from engine.planner.path import path_to
from engine.planner.plan import Changed, Plan, Pruned, Step, Via
from engine.planner.radius import Excess, excesses, radius
from engine.planner.tasks import TaskNeed, needs, task_count
from engine.planner.waiting import held
from engine.planner.walk import plan

__all__ = [
    "Changed",
    "Difference",
    "Excess",
    "Known",
    "KnownNeeded",
    "Plan",
    "Pruned",
    "Step",
    "TaskNeed",
    "differences",
    "document",
    "excesses",
    "Via",
    "held",
    "input_partitions",
    "needs",
    "path_to",
    "plan",
    "prefetched",
    "radius",
    "task_count",
    "upstream",
]
