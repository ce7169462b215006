"""The partitions that the group has assigned, and the position of each."""

from aiokafka import TopicPartition
from aiokafka.abc import ConsumerRebalanceListener

from consumers.kafka.position import Position


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """The assignment of a member of a group.

    aiokafka fetches from newly assigned partitions at the broker's offsets before it calls the
    listener, and swallows errors of the listener. Therefore the listener only records the
    assignment, and records of a partition count only once the partition has a position.
    """

    def __init__(self) -> None:
        self.owned: frozenset[TopicPartition] = frozenset()
        self.positions: dict[TopicPartition, Position] = {}
        self.has_joined = False

    @property
    def unpositioned(self) -> frozenset[TopicPartition]:
        """Assigned partitions that have no position yet."""
        return self.owned - self.positions.keys()

    def on_partitions_revoked(self, revoked: object) -> None:
        """Drop the assignment at the beginning of a rebalance."""
        self._reset(frozenset())

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Record a new assignment, possibly empty, without positions."""
        self.has_joined = True
        self._reset(frozenset(assigned))

    def reset_positions(self) -> None:
        """Drop all positions, so that they are loaded again."""
        self._reset(self.owned)

    def _reset(self, owned: frozenset[TopicPartition]) -> None:
        self.owned = owned
        self.positions = {}  # a new dict, because the current batch still updates the old one
