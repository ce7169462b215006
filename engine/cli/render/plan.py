"""Plans: expected costs, and differences from an earlier preview."""

from collections.abc import Iterable, Iterator

from rich.text import Text

from engine.lineage.diff import DagDiff
from engine.planner import Difference, DifferenceKind
from engine.service.queries.plans import Cost, Estimate, PlanRow
from engine.wording import counted, some, span

_SIZES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
_MARKS = {
    DifferenceKind.NEW: ("+ ", "green"),
    DifferenceKind.GONE: ("- ", "red"),
    DifferenceKind.DIFFERENT: ("~ ", "yellow"),
}


def subject_of(plan: PlanRow) -> str:
    """The changed datasets of a plan, or the DAGs of a deploy."""
    return f"deploy of {some(plan.dags)}" if plan.dags else some(plan.datasets)


def job_changes(change: DagDiff) -> Iterator[Text]:
    """The jobs that a deploy adds, changes and removes, a line each."""
    for name in change.added:
        yield Text.assemble(("+ ", "green"), name)
    for name, keys in change.changed.items():
        yield Text.assemble(("~ ", "yellow"), name, (f"  {', '.join(keys)}", "dim"))
    for name in change.removed:
        yield Text.assemble(("- ", "red"), name)


def estimate_text(estimate: Estimate | None) -> str:
    """The expected cost of a plan: `about 2m of task time (unknown for 1 job), 3.0 MB`."""
    if estimate is None:
        return ""
    time = f"about {_time(estimate.seconds)} of task time"
    parts = (
        _qualified(time, "task time", estimate.seconds, estimate.unknown_seconds),
        _qualified(_size(estimate.bytes), "bytes", estimate.bytes, estimate.unknown_bytes),
    )
    return ", ".join(filter(None, parts))


def cost_text(cost: Cost) -> str:
    """The expected cost of a job, as far as known."""
    time = None if cost.seconds is None else f"about {_time(cost.seconds)}"
    return ", ".join(filter(None, (time, None if cost.bytes is None else _size(cost.bytes))))


def difference_texts(differences: Iterable[Difference]) -> list[Text]:
    """A line for each job with a different part of the plan."""
    return [_difference_text(difference) for difference in differences]


def _difference_text(difference: Difference) -> Text:
    job, kind = difference.job, difference.kind
    text = Text.assemble(_MARKS[kind], (job, "bold"), f"  {kind}")
    if difference.more:
        text.append(f"  + {some(difference.more)}", "green")
    if difference.fewer:
        text.append(f"  - {some(difference.fewer)}", "red")
    return text.append("".join(f"  {note}" for note in difference.notes), "dim")


def _qualified(text: str, noun: str, total: float, unknown_jobs: int) -> str:
    """The text of a total, with the number of jobs without an estimate."""
    if not unknown_jobs:
        return text if total else ""
    jobs = counted(unknown_jobs, "job")
    return f"{text} (unknown for {jobs})" if total else f"{noun} unknown for {jobs}"


def _time(seconds: float) -> str:
    return span(seconds) if seconds >= 1 else "a second"


def _size(count: float) -> str:
    for unit, size in _SIZES:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"
