"""Histories of a world as sequences of independent steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

WEIGHTS = Counter(
    apply=2,
    burst=1,
    cancel=3,
    change=16,
    claim=14,
    clock=2,
    decide=2,
    deploy=4,
    expire=5,
    fail=5,
    failure_before_successor=2,
    finish=16,
    garble=2,
    failed_task_extended=1,
    heartbeat=3,
    impact=2,
    ingest=12,
    invalidate=4,
    joined_task=1,
    canceled_change=1,
    limit=1,
    mend=4,
    source_moved_during_ingestion=1,
    plan=12,
    publish=10,
    read=8,
    rebuild_after_edit=1,
    replay=2,
    rest=1,
    retry_any=1,
    rollback=1,
    spill=3,
    tick=5,
    late_event=2,
    vanish=2,
)
"""Weights of verbs and phrases. The order determines the histories of all seeds."""
PROCESS = ("publish", "ingest", "ingest", "plan")
"""Steps that process a change of a source."""
PHRASES = {
    "late_event": (
        *("rest", "touch", *PROCESS, "claim", "touch", "finish"),
        *(*("claim", "finish") * 2, *PROCESS),
        *("claim", "finish") * 3,
    ),
    "failure_before_successor": (
        *("rest", "touch", *PROCESS, "claim", "touch", *PROCESS, "fail", "fail"),
        *("fail", "claim", "finish"),
    ),
    "failure_before_smaller_successor": (
        *("rest", "grow", *PROCESS, "claim", "touch", *PROCESS, "fail", "fail", "claim", "finish"),
    ),
    "result_after_its_readers": (
        *("rest", "touch", *PROCESS, "claim", "claim", "give_up", "give_up"),
        *(*("claim", "finish", "finish") * 3, "rest"),
    ),
    "canceled_change": ("rest", "touch", *PROCESS, "cancel_first", "touch", *PROCESS, "rest"),
    "rebuild_after_edit": ("rest", "invalidate", *PROCESS, "rest", "remake", *PROCESS, "rest"),
    "first_run_canceled": (
        *("grow", *PROCESS, "cancel_first", "cancel_first", "touch", *PROCESS, "rest"),
    ),
    "partial_write": (
        *("rest", "touch", *PROCESS, "claim", "spill", "invalidate", *PROCESS, "claim", "finish"),
        *("expire", "tick", "claim", "finish", "rest"),
    ),
    "pending_plans": (
        *("rest", "limit", "change", *PROCESS, "touch", *PROCESS, "claim", "finish", "decide"),
        *("touch", *PROCESS, "decide", "decide", "rest"),
    ),
    "proposed_plan": (
        "rest",
        "change",
        "impact",
        "touch",
        "impact",
        "apply",
        "plan",
        "apply",
        "rest",
    ),
    "outdated_proposal": (
        "rest",
        "change",
        "impact",
        "touch",
        "publish",
        *PROCESS,
        "apply",
        "rest",
    ),
    "expired_lease": ("rest", "touch", *PROCESS, "claim", "expire", "tick", "heartbeat", "rest"),
    "joined_task": (
        *("rest", "grow", "grow", *PROCESS, "rest", *(("touch_row", *PROCESS) * 3)),
        *("claim", "finish"),
    ),
    "handed_over_task": (
        *("rest", "grow", "grow", *PROCESS, "rest", "touch_row", *PROCESS, "claim"),
        *("touch_row", *PROCESS, "fail", "claim", "finish"),
    ),
    "failed_task_extended": (
        "rest",
        "wrong",
        *PROCESS,
        "claim",
        "give_up",
        "grow",
        *PROCESS,
        "rest",
    ),
    "edit_and_change": (
        *("rest", "rewrite", "touch", "touch", *("publish",) * 3, *("ingest",) * 3, "plan", "rest"),
    ),
    "one_failed_task": (
        *("rest", "touch", *PROCESS, "claim", "give_up", "claim", "finish", "finish", "rest"),
        *("touch", *PROCESS, *("claim", "expire") * 6, "rest"),
    ),
    "source_moved_during_ingestion": (
        "change",
        "publish",
        *("ingest + deploy_source",) * 2,
        "plan",
        "rest",
    ),
    "source_replaced_during_ingestion": (
        *("widen_source", "appear", "appear", "publish", "ingest + widen_source"),
        *("ingest + deploy_source",) * 2,
        *("plan", "rest"),
    ),
    "several_attempts": ("change", "change", *PROCESS, *("claim", "fail", "claim", "finish") * 3),
    "rollback": ("rest", "deploy", "change", *PROCESS, "claim", "deploy", "claim", "finish"),
    "redeployed_follower": (
        *("grow", *PROCESS, "rest", "change_job", "grow", *PROCESS, "claim", "finish"),
        *("roll_back", "grow", *PROCESS, "claim", "finish", "rest"),
    ),
    "canceled_change_and_join": (
        *("grow", "rest", "touch", *PROCESS, "cancel_first", *(("touch", *PROCESS) * 2)),
    ),
    "changes_in_one_plan": ("grow", "rest", "touch", "touch", "touch"),
    "invalidated_and_unchanged": ("grow", "rest", "wrong", "wrong", "touch", "touch"),
    "first_event_with_known_partitions": (
        "appear",
        "rest",
        *(("touch_to_new", "rest", "touch_in_range", "rest") * 3),
    ),
    "first_run_with_late_input": (
        *("appear", "touch_last", "rest"),
        *(("appear", *PROCESS, "claim", "touch_last", *PROCESS, "finish", "rest") * 3),
    ),
    "partial_write_and_read": (
        *("grow", "touch_last", "rest", "touch_last", *PROCESS, "claim", "wrong_first", *PROCESS),
        *("claim", "spill", "spill", "finish"),
    ),
    "partial_write_of_all_and_read": (
        *("grow", "touch_last", "rest", "touch_last", *PROCESS, "claim", "wrong_first", *PROCESS),
        *("claim", *("spill",) * 3, *("finish",) * 3),
    ),
    "crash_during_ingestion": (
        *(("change", "publish", "ingest + die") * 10),
        *("rest", "touch", "publish", "ingest", *(("plan + die",) * 6)),
    ),
    "altered_source": (
        *("rest", "alter_source", "touch", *PROCESS, "rest", "narrow_source", "touch", *PROCESS),
        *("rest", "alter_source", "widen_source", "appear", *PROCESS, "rest"),
    ),
    "two_claims": ("rest", *(("touch", *PROCESS, "claim") * 2), "finish"),
    "late_completion": ("rest", "touch", *PROCESS, "claim", "expire", "tick", "finish"),
    "canceled_downstream_task": (
        *("grow", "touch_last", "rest", "touch", *PROCESS, "cancel_newest", "touch_last"),
        *(*PROCESS, "claim", "finish"),
    ),
    "changed_task_size": ("grow", "rest", "touch", *PROCESS, "cut_otherwise"),
    "moved_source": ("grow", "rest", "deploy_source"),
    "manual_for_a_time": ("grow", "touch_last", "rest", "activate", "touch", "rest", "activate"),
    "first_run_without_windows": (("appear", "rest", "read_less", "rest", "roll_back", "rest") * 2),
    "rejected_replay": ("garble", "ingest", "replay"),
    "change_of_one_group": ("grow", "rest", "touch_group", "touch_last"),
}
"""Sequences of verbs for conditions that are too rare in random histories.

An event is ingested only after a run has read its change; a run fails with another task queued
behind it; partitions of a canceled task are built for another reason; edited partitions are
rebuilt; a deploy moves a source during the ingestion of its events; a plan joins the task of a
canceled plan; changes of different scopes share a task; an event names both known and new
partitions; an input changes during a first run; a task waits for a change that does not reach it.
"""
MAX_LENGTH = 80
DRILLS = (
    ("narrow", "late_event"),
    ("narrow", "failure_before_successor"),
    ("forked", "failure_before_smaller_successor"),
    ("forked", "canceled_change"),
    ("forked", "first_run_canceled"),
    ("bundled", "changes_in_one_plan"),
    ("narrow", "pending_plans"),
    ("forked", "late_event"),
    ("tiny", "proposed_plan"),
    ("tiny", "outdated_proposal"),
    ("forked", "expired_lease"),
    ("following", "joined_task"),
    ("following", "handed_over_task"),
    ("narrow", "pending_plans"),
    ("diamond", "one_failed_task"),
    ("tiny", "rebuild_after_edit"),
    ("chain", "edit_and_change"),
    ("tiny", "source_moved_during_ingestion"),
    ("bounded", "source_replaced_during_ingestion"),
    ("following", "rollback"),
    ("following", "redeployed_follower"),
    ("damped", "failed_task_extended"),
    ("damped blocks", "invalidated_and_unchanged"),
    ("fanned", "canceled_change_and_join"),
    ("blocked", "changes_in_one_plan"),
    ("grouped", "change_of_one_group"),
    ("blocked", "failure_before_successor"),
    ("ranged", "first_event_with_known_partitions"),
    ("joined", "first_run_with_late_input"),
    ("narrow", "partial_write"),
    ("undeclared", "altered_source"),
    ("windowed", "changes_in_one_plan"),
    ("tiny", "rejected_replay"),
    ("across", "moved_source"),
    ("beside", "canceled_downstream_task"),
    ("forked", "late_completion"),
    ("blocked", "changed_task_size"),
    ("reporting", "changes_in_one_plan"),
    ("joined", "manual_for_a_time"),
    ("mixed", "change_of_one_group"),
    ("windowed", "first_run_without_windows"),
    ("forked", "two_claims"),
    ("tiny", "crash_during_ingestion"),
    ("beside", "partial_write_and_read"),
    ("narrow", "several_attempts"),
    ("windowed full", "first_run_without_windows"),
    ("beside full", "partial_write_of_all_and_read"),
)
"""Small worlds, each repeating a single rare condition."""


@dataclass(frozen=True)
class Step:
    """A verb, and a seed for all its random choices.

    Names of verbs are part of the seed: another name would change every world."""

    verb: str
    seed: int

    def rng(self) -> Random:
        return Random(f"{self.verb} {self.seed}")


def history(seed: int) -> list[Step]:
    """Return the history of a seed, beginning with a few changes to create work."""
    rng = Random(f"history {seed}")
    verbs = list(WEIGHTS)
    opening = ["change", "publish", "ingest", "plan", "claim", "read", "finish"]
    drawn = rng.choices(verbs, [WEIGHTS[verb] for verb in verbs], k=rng.randint(10, MAX_LENGTH))
    verbs = [verb for word in [*opening, *drawn] for verb in PHRASES.get(word, (word,))]
    return [Step(verb, rng.randrange(2**32)) for verb in verbs]


def drill(seed: int, phrase: str) -> list[Step]:
    """Return a history repeating a rare condition three times, some with nothing built before."""
    rng = Random(f"drill {seed}")
    if phrase.startswith("first"):
        verbs = [*PHRASES[phrase], "rest"]
    else:
        opening = ("burst", "rest") if rng.random() < 0.6 else ()
        verbs = [*opening, *(PHRASES[phrase] + ("rest",)) * 3]
    return [Step(verb, rng.randrange(2**32)) for verb in verbs]


def with_versions(seed: int, steps: Sequence[Step]) -> Sequence[Step]:
    """Return a history with undeploys and sweeps among its steps, which stay the same."""
    rng = Random(f"versions {seed}")
    more: list[Step] = []
    for step in steps:
        more.append(step)
        verbs = rng.choices(["", "redeploy", "sweep", "deploy"], [80, 8, 8, 4])
        more += [Step(verb, rng.randrange(2**32)) for verb in verbs if verb]
    return more
