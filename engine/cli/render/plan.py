"""How plans look: what they may take, and how one differs from what was shown before."""

from collections.abc import Iterable

from rich.text import Text

from engine.planner import Difference
from engine.service.queries.plans import Cost, Estimate
from engine.wording import counted, some, span

_SIZES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
_MARKS = {"new": ("+ ", "green"), "gone": ("- ", "red"), "different": ("~ ", "yellow")}


def estimate_text(estimate: Estimate | None) -> str:
    """What a plan may take: `about 2m of task time (unknown for 1 job), 3.0 MB`."""
    if estimate is None:
        return ""
    time = f"about {_time(estimate.seconds)} of task time"
    parts = (
        _told(time, "task time", estimate.seconds, estimate.unknown_seconds),
        _told(_size(estimate.bytes), "bytes", estimate.bytes, estimate.unknown_bytes),
    )
    return ", ".join(filter(None, parts))


def cost_text(cost: Cost) -> str:
    """What one job's part may take, as far as it is known."""
    time = None if cost.seconds is None else f"about {_time(cost.seconds)}"
    return ", ".join(filter(None, (time, None if cost.bytes is None else _size(cost.bytes))))


def difference_texts(differences: Iterable[Difference]) -> list[Text]:
    """A line for each job whose part of the plan is not what it was."""
    return [_difference(each) for each in differences]


def _difference(each: Difference) -> Text:
    text = Text.assemble(_MARKS[each.kind], (each.job, "bold"), f"  {each.kind}")
    if each.more:
        text.append(f"  + {some(each.more)}", "green")
    if each.fewer:
        text.append(f"  - {some(each.fewer)}", "red")
    return text.append("".join(f"  {note}" for note in each.notes), "dim")


def _told(text: str, noun: str, known: float, unknown: int) -> str:
    if not unknown:
        return text if known else ""
    whose = counted(unknown, "job")
    return f"{text} (unknown for {whose})" if known else f"{noun} unknown for {whose}"


def _time(seconds: float) -> str:
    return span(seconds) if seconds >= 1 else "a second"


def _size(count: float) -> str:
    for unit, size in _SIZES:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"
