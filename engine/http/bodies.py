"""Bodies of requests, with their limits."""

from typing import Annotated, Any, Self

import msgspec
from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, model_validator

from engine.errors import InvalidEvent
from engine.model.event import MAX_LISTED, MAX_TEXT, SourceEvent
from engine.model.states import Reason

MOST_IDS = 1_000
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=MAX_LISTED)]
Note = Annotated[str, Field(max_length=2_000)]
Flag = Annotated[bool, Field(strict=True)]
"""Without ``strict``, numbers and texts would count as booleans, and booleans as numbers."""
Name = Annotated[str, Field(max_length=MAX_TEXT)]
Ids = Annotated[list[Text], Field(min_length=1, max_length=MOST_IDS)]
Id = Annotated[
    str,
    Path(min_length=1, max_length=MAX_TEXT, description="Id in full, or its last characters."),
]
Person = Annotated[
    str,
    Path(min_length=1, max_length=MAX_TEXT, description="E-mail address, external id or id."),
]


class Body(BaseModel):
    """The body of a request; an unknown key is an error, since it may be misspelled."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Chosen(Body):
    """Items by ``ids``, each in full or by its last characters, or all that other fields select."""

    ids: Ids | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        others = self.model_fields_set - {"ids", "reason"}
        if self.ids is not None and others:
            raise ValueError(f"ids name the items: leave out {', '.join(sorted(others))}")
        return self


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
