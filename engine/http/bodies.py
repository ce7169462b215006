"""Bodies of requests, with their limits."""

from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from engine.errors import InvalidEvent
from engine.model.event import MAX_LISTED, MAX_TEXT, SourceEvent
from engine.model.states import Reason

MOST_IDS = 1_000
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=MAX_LISTED)]
Note = Annotated[str, Field(max_length=2_000)]
Name = Annotated[str, Field(max_length=MAX_TEXT)]


class Body(BaseModel):
    """The body of a request; an unknown key is an error, since it may be misspelled."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Change(Body):
    """A change of part of a dataset; without ``partitions``, of the entire dataset."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "dataset": "orders",
                    "partitions": ["2013-02-01..2013-02-07", "2013-02-13"],
                    "columns": ["amount"],
                    "rows": {"origin": {"in": ["JFK"]}},
                }
            ]
        }
    )

    dataset: Text
    partitions: Texts | None = None
    columns: Texts | None = None
    rows: dict[str, Any] | None = None
    reason: Reason = Reason.MANUAL
    version: Text | None = None
    note: Note | None = None
    fingerprint: Text | None = None

    def event(self, key: str | None = None) -> SourceEvent:
        """Return the change as an event; ``key`` is the idempotency key. Raises InvalidEvent."""
        given = self.model_dump(exclude_none=True)
        try:
            return msgspec.convert({**given, "id": key, "source": "http"}, SourceEvent)
        except msgspec.ValidationError as error:
            raise InvalidEvent(f"the change is malformed: {error}") from None
