"""Attempts at a task in one line each."""

from datetime import UTC, datetime

from rich.text import Text

from engine.cli.render.elements import status_text
from engine.service.queries.attempts import AttemptSummary
from engine.wording import span


def attempt_text(attempt: AttemptSummary) -> Text:
    """The number, outcome, start, duration and worker of an attempt."""
    seconds = ((attempt.ended_at or datetime.now(UTC)) - attempt.started_at).total_seconds()
    outcome = (attempt.outcome or "running").replace("_", " ")
    text = Text.assemble((f"attempt {attempt.number}", "bold"), "  ", status_text(outcome))
    started = attempt.started_at.isoformat(sep=" ", timespec="seconds")
    return text.append(f"  {started}, {span(seconds)}, by {attempt.worker_id}", "dim")
