"""What a run event of OpenLineage is, as far as it tells what was written.

Source: OpenLineage 2-0-2, with the facets `subset` (1-0-0) of outputs, `lifecycleStateChange` and
`symlinks` (1-0-1) of datasets, and `jobType` (2-0-3) of jobs, as the official Python client 1.54
has them. Other facets say nothing of what was written.
"""

from typing import Any, Literal

import msgspec

from engine.errors import InvalidEvent
from engine.model.told import Name


class Lifecycle(
    msgspec.Struct,
    frozen=True,
    rename={"change": "lifecycleStateChange", "previous": "previousIdentifier"},
):
    """What happened to a dataset as a whole."""

    change: str = ""
    previous: Name | None = None


class Symlinks(msgspec.Struct, frozen=True):
    """What else a dataset is called."""

    identifiers: list[Name] = []


class _Facets(msgspec.Struct, frozen=True, rename={"lifecycle": "lifecycleStateChange"}):
    lifecycle: Lifecycle | None = None
    symlinks: Symlinks | None = None


class _Subset(msgspec.Struct, frozen=True, rename={"condition": "outputCondition"}):
    condition: Any = None


class _OutputFacets(msgspec.Struct, frozen=True):
    subset: _Subset | None = None


class Output(Name, frozen=True, rename={"output_facets": "outputFacets"}):
    """A dataset that a run has written."""

    facets: _Facets | None = None
    output_facets: _OutputFacets | None = None

    @property
    def names(self) -> list[Name]:
        """All that the dataset is called."""
        symlinks = self.facets and self.facets.symlinks
        return [self, *(symlinks.identifiers if symlinks else ())]

    @property
    def lifecycle(self) -> Lifecycle:
        """What happened to it as a whole, if anything."""
        return (self.facets and self.facets.lifecycle) or Lifecycle()

    @property
    def condition(self) -> Any:
        """The part of the dataset that was written; None where nothing is said."""
        subset = self.output_facets and self.output_facets.subset
        return subset.condition if subset else None


class _JobType(msgspec.Struct, frozen=True, rename={"processing": "processingType"}):
    processing: str = ""


class _JobFacets(msgspec.Struct, frozen=True, rename={"type": "jobType"}):
    type: _JobType | None = None


class _Job(Name, frozen=True):
    facets: _JobFacets | None = None


class _Run(msgspec.Struct, frozen=True, rename={"id": "runId"}):
    id: str


class Message(msgspec.Struct, frozen=True, rename={"type": "eventType"}):
    """An event about a run, a job or a dataset."""

    producer: str = ""
    type: Literal["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"] | None = None
    run: _Run | None = None
    job: _Job | None = None
    dataset: Name | None = None
    outputs: list[Output] | None = None

    @property
    def is_end(self) -> bool:
        """Whether the run has ended, in whichever way."""
        return self.type in _ENDS

    @property
    def has_written(self) -> bool:
        """Whether the outputs are written by now, or may be.

        A streaming job never completes: it reports what it has written while it runs.
        """
        streams = self.job and self.job.facets and self.job.facets.type
        is_streaming = bool(streams and streams.processing.upper() == "STREAMING")
        return self.is_end or (self.type == "RUNNING" and is_streaming)


_ENDS = ("COMPLETE", "ABORT", "FAIL")
_decoder = msgspec.json.Decoder(Message)


def read(value: bytes | None) -> Message:
    """The event of a message. Raises InvalidEvent."""
    if value is None:
        raise InvalidEvent("null value: send a run event of OpenLineage")
    try:
        message = _decoder.decode(value)
    except (ValueError, RecursionError) as error:
        raise InvalidEvent(f"not an event of OpenLineage: {error}") from error
    if message.run is None and message.job is None and message.dataset is None:
        raise InvalidEvent("not an event of OpenLineage: it has neither run, job nor dataset")
    return message
