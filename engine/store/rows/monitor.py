"""Rows of `monitor.sql`."""

import msgspec


class Backlog(msgspec.Struct, frozen=True):
    """The backlog of an org; ``tasks`` counts unfinished tasks by state, ages are in seconds."""

    tasks: dict[str, int]
    expired: int
    workers: int
    oldest_queued: float
    open_invalidations: int
    set_aside_invalidations: int
    oldest_invalidation: float
    dead_letters: int
    plans_pending_approval: int
    oldest_pending_approval: float
    pauses: int
    notification_queue: float
