"""Histories of a world as steps, any of which can be left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

WEIGHTS = Counter(
    change=16,
    burst=1,
    publish=10,
    ingest=12,
    plan=12,
    claim=14,
    read=8,
    finish=16,
    fail=5,
    vanish=2,
    spill=3,
    expire=5,
    heartbeat=3,
    tick=5,
    clock=2,
    mend=4,
    invalidate=4,
    cancel=3,
    limit=1,
    decide=2,
    impact=2,
    apply=2,
    garble=2,
    replay=2,
    retry_any=1,
    deploy=4,
    rest=1,
    told_late=2,
    fails_ahead=2,
    left_undone=1,
    remade=1,
    joined=1,
    given_up=1,
    moved_while_told=1,
    rolled_back=1,
)
TAKE_IN = ("publish", "ingest", "ingest", "plan")
PHRASES = {
    "told_late": (
        *("rest", "touch", *TAKE_IN, "claim", "touch", "finish"),
        *(*("claim", "finish") * 2, *TAKE_IN),
        *("claim", "finish") * 3,
    ),
    "fails_ahead": (
        *("rest", "touch", *TAKE_IN, "claim", "touch", *TAKE_IN, "fail", "fail"),
        *("fail", "claim", "finish"),
    ),
    "fails_ahead_of_less": (
        *("rest", "grow", *TAKE_IN, "claim", "touch", *TAKE_IN, "fail", "fail", "claim", "finish"),
    ),
    "left_undone": ("rest", "touch", *TAKE_IN, "cancel_first", "touch", *TAKE_IN, "rest"),
    "remade": ("rest", "invalidate", *TAKE_IN, "rest", "remake", *TAKE_IN, "rest"),
    "first_undone": (
        *("grow", *TAKE_IN, "cancel_first", "cancel_first", "touch", *TAKE_IN, "rest"),
    ),
    "cut_off": (
        *("rest", "touch", *TAKE_IN, "claim", "spill", "invalidate", *TAKE_IN, "claim", "finish"),
        *("expire", "tick", "claim", "finish", "rest"),
    ),
    "pending": (
        *("rest", "limit", "change", *TAKE_IN, "touch", *TAKE_IN, "claim", "finish", "decide"),
        *("touch", *TAKE_IN, "decide", "decide", "rest"),
    ),
    "shown": ("rest", "change", "impact", "touch", "impact", "apply", "plan", "apply", "rest"),
    "shown_late": ("rest", "change", "impact", "touch", "publish", *TAKE_IN, "apply", "rest"),
    "expired": ("rest", "touch", *TAKE_IN, "claim", "expire", "tick", "heartbeat", "rest"),
    "joined": (
        *("rest", "grow", "grow", *TAKE_IN, "rest", *(("touch_row", *TAKE_IN) * 3)),
        *("claim", "finish"),
    ),
    "handed_over": (
        *("rest", "grow", "grow", *TAKE_IN, "rest", "touch_row", *TAKE_IN, "claim"),
        *("touch_row", *TAKE_IN, "fail", "claim", "finish"),
    ),
    "given_up": ("rest", "wrong", *TAKE_IN, "claim", "give_up", "grow", *TAKE_IN, "rest"),
    "edited_and_changed": (
        *("rest", "rewrite", "touch", "touch", *("publish",) * 3, *("ingest",) * 3, "plan", "rest"),
    ),
    "one_given_up": (
        *("rest", "touch", *TAKE_IN, "claim", "give_up", "claim", "finish", "finish", "rest"),
        *("touch", *TAKE_IN, *("claim", "expire") * 6, "rest"),
    ),
    "moved_while_told": ("change", "publish", *("ingest + deploy_source",) * 2, "plan", "rest"),
    "widened_while_told": (
        *("widen_source", "appear", "appear", "publish", *("ingest + widen_source",) * 3),
        *("plan", "rest"),
    ),
    "tries": ("change", "change", *TAKE_IN, *("claim", "fail", "claim", "finish") * 3),
    "rolled_back": ("rest", "deploy", "change", *TAKE_IN, "claim", "deploy", "claim", "finish"),
    "begun_again": (
        *("grow", *TAKE_IN, "rest", "change_job", "grow", *TAKE_IN, "claim", "finish"),
        *("roll_back", "grow", *TAKE_IN, "claim", "finish", "rest"),
    ),
    "left_undone_and_joined": (
        *("grow", "rest", "touch", *TAKE_IN, "cancel_first", *(("touch", *TAKE_IN) * 2)),
    ),
    "changed_in_one_plan": ("grow", "rest", "touch", "touch", "touch"),
    "wrong_and_unchanged": ("grow", "rest", "wrong", "wrong", "touch", "touch"),
    "first_named_with_known": (
        "appear",
        "rest",
        *(("touch_to_new", "rest", "touch_in_range", "rest") * 3),
    ),
    "first_built_late": (
        *("appear", "touch_last", "rest"),
        *(("appear", *TAKE_IN, "claim", "touch_last", *TAKE_IN, "finish", "rest") * 3),
    ),
    "half_written_and_read": (
        *("grow", "touch_last", "rest", "touch_last", *TAKE_IN, "claim", "wrong_first", *TAKE_IN),
        *("claim", "spill", "spill", "finish"),
    ),
    "dies_in_between": (
        *(("change", "publish", "ingest + die") * 10),
        *("rest", "touch", "publish", "ingest", *(("plan + die",) * 6)),
    ),
    "altered": (
        *("rest", "alter_source", "touch", *TAKE_IN, "rest", "narrow_source", "touch", *TAKE_IN),
        *("rest", "alter_source", "widen_source", "appear", *TAKE_IN, "rest"),
    ),
    "claimed_twice": ("rest", *(("touch", *TAKE_IN, "claim") * 2), "finish"),
    "given_back_late": ("rest", "touch", *TAKE_IN, "claim", "expire", "tick", "finish"),
    "left_undone_below": (
        *("grow", "touch_last", "rest", "touch", *TAKE_IN, "cancel_newest", "touch_last"),
        *(*TAKE_IN, "claim", "finish"),
    ),
    "cut_otherwise": ("grow", "rest", "touch", *TAKE_IN, "cut_otherwise"),
    "source_moved": ("grow", "rest", "deploy_source"),
    "only_by_hand": ("grow", "touch_last", "rest", "activate", "touch", "rest", "activate"),
    "first_reads_less": (("appear", "rest", "read_less", "rest", "roll_back", "rest") * 2),
    "refused_again": ("garble", "ingest", "replay"),
    "reached_by_one": ("grow", "rest", "touch_group", "touch_last"),
}
"""Sequences of verbs for conditions that are too rare in random histories.

An event is ingested only after a run has read its change; a run fails with another task queued
behind it; partitions of a canceled task are built for another reason; edited partitions are
rebuilt; a deploy moves a source during the ingestion of its events; a plan joins the task of a
canceled plan; changes of different scopes share a task; an event names both known and new
partitions; an input changes during a first run; a task waits for a change that does not reach it.
"""
LONGEST = 80
DRILLS = (
    ("picky", "told_late"),
    ("picky", "fails_ahead"),
    ("forked", "fails_ahead_of_less"),
    ("forked", "left_undone"),
    ("forked", "first_undone"),
    ("bundled", "changed_in_one_plan"),
    ("picky", "pending"),
    ("forked", "told_late"),
    ("tiny", "shown"),
    ("tiny", "shown_late"),
    ("forked", "expired"),
    ("following", "joined"),
    ("following", "handed_over"),
    ("picky", "pending"),
    ("diamond", "one_given_up"),
    ("tiny", "remade"),
    ("chain", "edited_and_changed"),
    ("tiny", "moved_while_told"),
    ("bounded", "widened_while_told"),
    ("following", "rolled_back"),
    ("following", "begun_again"),
    ("damped", "given_up"),
    ("damped blocks", "wrong_and_unchanged"),
    ("fanned", "left_undone_and_joined"),
    ("blocked", "changed_in_one_plan"),
    ("grouped", "reached_by_one"),
    ("blocked", "fails_ahead"),
    ("ranged", "first_named_with_known"),
    ("joined", "first_built_late"),
    ("picky", "cut_off"),
    ("undeclared", "altered"),
    ("windowed", "changed_in_one_plan"),
    ("tiny", "refused_again"),
    ("across", "source_moved"),
    ("beside", "left_undone_below"),
    ("forked", "given_back_late"),
    ("blocked", "cut_otherwise"),
    ("telling", "changed_in_one_plan"),
    ("joined", "only_by_hand"),
    ("mixed", "reached_by_one"),
    ("windowed", "first_reads_less"),
    ("forked", "claimed_twice"),
    ("tiny", "dies_in_between"),
    ("beside", "half_written_and_read"),
    ("picky", "tries"),
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
    verbs = sorted(WEIGHTS)
    opening = ["change", "publish", "ingest", "plan", "claim", "read", "finish"]
    drawn = rng.choices(verbs, [WEIGHTS[verb] for verb in verbs], k=rng.randint(10, LONGEST))
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
