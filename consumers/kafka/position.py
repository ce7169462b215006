"""Where a consumer stands in a partition: an offset, and the log that it is an offset of."""

from typing import NamedTuple


class Position(NamedTuple):
    """The next offset to read; `topic_id` is of the topic, None where the broker does not tell.

    A topic that was deleted and made anew has another id, so that its offsets are not taken for
    those of the old one. As it is compared and set as a whole, neither are those of a slow owner.
    """

    offset: int
    topic_id: str | None = None

    def to_text(self) -> str:
        """The position as it is stored: `1234@<topic id>`."""
        return f"{self.offset}" if self.topic_id is None else f"{self.offset}@{self.topic_id}"

    @staticmethod
    def from_text(text: str) -> "Position":
        """Read what `to_text` wrote. Raises ValueError."""
        offset, _, topic_id = text.partition("@")
        return Position(int(offset), topic_id or None)

    def may_be_of(self, topic_id: str | None) -> bool:
        """Whether that may be the topic, as far as the ids of both are known."""
        return None in (self.topic_id, topic_id) or self.topic_id == topic_id

    def at(self, offset: int) -> "Position":
        """Another place in the same log."""
        return self._replace(offset=offset)
