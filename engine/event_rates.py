"""The rates at which orgs send events to this process, measured against their quotas."""

from collections import defaultdict
from collections.abc import Callable
from time import monotonic
from uuid import UUID

from engine.errors import TooManyEvents
from engine.token_bucket import TokenBucket


class EventRates:
    """Token buckets of orgs; None for a quota means no limit.

    A request or batch is accepted as a whole if there is room for one event. The others are paid
    for by what follows, so that no size is too large to be accepted.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._buckets: defaultdict[UUID, TokenBucket] = defaultdict(lambda: TokenBucket(clock))

    def admit(self, org: UUID, quota: int | None, events: int) -> None:
        """Count events that have arrived. Raises TooManyEvents, and counts none, without room."""
        if quota is None:
            return
        if seconds := self._buckets[org].wait(quota):
            raise TooManyEvents(
                f"the quota of the org permits {quota:,} events per second: send this again later",
                seconds,
            )
        self._buckets[org].spend(quota, events)

    def debt(self, org: UUID, quota: int | None, events: int) -> float:
        """Count events that were read, and return the seconds until more may be read."""
        if quota is None:
            return 0.0
        self._buckets[org].spend(quota, events)
        return self._buckets[org].wait(quota)
