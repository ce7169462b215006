"""The parts of an OpenLineage run event that describe written data.

Source: OpenLineage 2-0-2, with the facets `subset` (1-0-0) of outputs, `lifecycleStateChange` and
`symlinks` (1-0-1) of datasets, and `jobType` (2-0-3) of jobs, as defined in the official Python
client 1.54. Other facets do not describe written data.
"""

from typing import Any, Literal

import msgspec

from engine.errors import InvalidEvent
from engine.model.reported_lineage import Name


class Lifecycle(
    msgspec.Struct,
    frozen=True,
    rename={"change": "lifecycleStateChange", "previous": "previousIdentifier"},
):
    """A change of a dataset as a whole."""

    change: str = ""
    previous: Name | None = None


class Symlinks(msgspec.Struct, frozen=True):
    """Alternative names of a dataset."""

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
        """The dataset's name and its alternative names."""
        symlinks = self.facets and self.facets.symlinks
        return [self, *(symlinks.identifiers if symlinks else ())]

    @property
    def lifecycle(self) -> Lifecycle:
        """The change of the dataset as a whole; empty if there is none."""
        return (self.facets and self.facets.lifecycle) or Lifecycle()

    @property
    def condition(self) -> Any:
        """The condition that selects the written part of the dataset; None if there is none."""
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
        """Return whether the run has ended, successfully or not."""
        return self.type in _ENDS

    @property
    def has_written(self) -> bool:
        """Return whether the outputs have been written, or may have been.

        A streaming job never completes, so its RUNNING events report written outputs.
        """
        streams = self.job and self.job.facets and self.job.facets.type
        is_streaming = bool(streams and streams.processing.upper() == "STREAMING")
        return self.is_end or (self.type == "RUNNING" and is_streaming)


_ENDS = ("COMPLETE", "ABORT", "FAIL")
_decoder = msgspec.json.Decoder(Message)


def read(value: bytes | None) -> Message:
    """Decode the event of a message. Raises InvalidEvent."""
    if value is None:
        raise InvalidEvent("null value: send an OpenLineage run event")
    try:
        message = _decoder.decode(value)
    except (ValueError, RecursionError) as error:
        raise InvalidEvent(f"not an OpenLineage event: {error}") from error
    if message.run is None and message.job is None and message.dataset is None:
        raise InvalidEvent("not an OpenLineage event: it has no run, job or dataset")
    return message
