"""Which partitions the group has given us, and where each is read on."""

from aiokafka import TopicPartition
from aiokafka.abc import ConsumerRebalanceListener

from consumers.kafka.position import Position


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes of a member of a group.

    aiokafka fetches a new assignment, from wherever the broker says, before its listener has run,
    and swallows what a listener raises. So the listener only takes notes: what is read of a
    partition counts once the partition has a place.
    """

    def __init__(self) -> None:
        self.owned: frozenset[TopicPartition] = frozenset()
        self.places: dict[TopicPartition, Position] = {}
        self.has_joined = False

    @property
    def unplaced(self) -> frozenset[TopicPartition]:
        """Partitions that are ours, but that nobody has sought yet."""
        return self.owned - self.places.keys()

    def on_partitions_revoked(self, revoked: object) -> None:
        """Own nothing while the group deals its partitions anew."""
        self._renew(frozenset())

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Own these, none of them placed; it may be that there are none for us."""
        self.has_joined = True
        self._renew(frozenset(assigned))

    def forget(self) -> None:
        """Have every place sought again."""
        self._renew(self.owned)

    def _renew(self, owned: frozenset[TopicPartition]) -> None:
        self.owned = owned
        self.places = {}  # not cleared: a batch in hand goes on with the places it was read at
