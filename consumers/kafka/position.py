"""A consumer's position in a partition: an offset, and the id of the topic."""

from typing import NamedTuple


class Position(NamedTuple):
    """The next offset to read; `topic_id` is None if the broker does not report it.

    A topic that is deleted and recreated gets another id, which distinguishes its offsets from
    those of the old topic. Positions are compared as a whole, so a former owner that still holds an
    offset of the old topic cannot advance the position.
    """

    offset: int
    topic_id: str | None = None

    def to_text(self) -> str:
        """Format the position for storage: `1234@<topic id>`."""
        return f"{self.offset}" if self.topic_id is None else f"{self.offset}@{self.topic_id}"

    @staticmethod
    def from_text(text: str) -> "Position":
        """Parse a stored position. Raises ValueError."""
        offset, _, topic_id = text.partition("@")
        return Position(int(offset), topic_id or None)

    def may_be_of(self, topic_id: str | None) -> bool:
        """Return whether the position may belong to a topic; unknown ids match every topic."""
        return None in (self.topic_id, topic_id) or self.topic_id == topic_id

    def at(self, offset: int) -> "Position":
        """Another position in the same log."""
        return self._replace(offset=offset)
