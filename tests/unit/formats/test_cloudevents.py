from base64 import b64encode
from typing import Any

import msgspec
import pytest

from consumers.formats.cloudevents import read_cloudevent
from engine.errors import InvalidEvent
from engine.model.event import SourceEvent

DATA = {"partitions": ["2013-02-13"], "columns": ["dep_delay"], "reason": "correction"}
ENVELOPE = {
    "specversion": "1.0",
    "id": "7",
    "source": "/loader",
    "type": "com.example.flights.mended",
    "subject": "flights",
    "time": "2013-02-14T00:00:00Z",
}
EVENT = SourceEvent(
    dataset="flights",
    partitions=("2013-02-13",),
    columns=("dep_delay",),
    reason="correction",
    id="/loader 7",
    source="/loader",
    time="2013-02-14T00:00:00+00:00",
)
STRUCTURED = {"content-type": "application/cloudevents+json; charset=UTF-8"}


def envelope(**changes: Any) -> dict[str, Any]:
    """The envelope with changes; None removes an attribute."""
    return {name: value for name, value in {**ENVELOPE, **changes}.items() if value is not None}


def structured(dataset: str | None = None, **changes: Any) -> SourceEvent:
    [event] = read_cloudevent(msgspec.json.encode(envelope(**changes)), STRUCTURED, dataset)
    return event


def binary(value: bytes | None, dataset: str | None = None, **changes: Any) -> SourceEvent:
    headers = {f"ce_{name}": text for name, text in envelope(**changes).items()}
    content_type = {"content-type": headers.pop("ce_datacontenttype", "application/json")}
    [event] = read_cloudevent(value, headers | content_type, dataset)
    return event


def test_a_structured_event_with_its_content_type():
    assert structured(data=DATA) == EVENT


def test_a_structured_event_without_headers():
    value = msgspec.json.encode(envelope(data=DATA))

    assert read_cloudevent(value, {}, None) == [EVENT]


def test_a_structured_event_with_base64_data():
    assert structured(data_base64=b64encode(msgspec.json.encode(DATA)).decode()) == EVENT


def test_a_binary_event():
    assert binary(msgspec.json.encode(DATA)) == EVENT


def test_extension_attributes_are_ignored():
    assert structured(data=DATA, traceparent="00-4bf9", partitionkey="JFK") == EVENT
    assert binary(msgspec.json.encode(DATA), traceparent="00-4bf9") == EVENT


def test_an_event_without_data_changes_the_whole_dataset():
    all_of_it = SourceEvent(dataset="flights", id="/loader 7", source="/loader", time=EVENT.time)

    assert structured() == all_of_it
    assert structured(data_base64=b64encode(b"null").decode()) == all_of_it
    assert structured(data_base64="") == all_of_it
    assert binary(b"") == all_of_it
    assert binary(None) == all_of_it
    assert binary(b"null") == all_of_it
    assert binary(None, datacontenttype="text/csv") == all_of_it


def test_null_data_in_the_envelope_counts_as_no_data():
    message = b'{"specversion": "1.0", "id": "9", "source": "/l", "type": "t", "data": null}'

    [event] = read_cloudevent(message, STRUCTURED, "flights")

    assert (event.dataset, event.partitions) == ("flights", None)


def test_the_bound_dataset_overrides_the_data_and_the_data_the_subject():
    assert structured(data={"dataset": "planes"}).dataset == "planes"
    assert structured("airports", data={}).dataset == "airports"
    with pytest.raises(InvalidEvent, match="names dataset 'planes'"):
        structured("airports", data={"dataset": "planes"})


def test_the_id_combines_source_and_id():
    pairs = [("/a", "1"), ("/a", "11"), ("/a1", "1"), ("/a1", "11")]

    ids = [structured(source=source, id=name).id for source, name in pairs]

    assert ids == ["/a 1", "/a 11", "/a1 1", "/a1 11"]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"specversion": "0.3"}, r"'0.3' - at `\$.specversion`"),
        ({"specversion": None}, "missing required field `specversion`"),
        ({"id": None}, "missing required field `id`"),
        ({"id": ""}, r"`\$.id`"),
        ({"source": None}, "missing required field `source`"),
        ({"source": "two words"}, r"`\$.source`"),
        ({"type": None}, "missing required field `type`"),
        ({"time": "yesterday"}, r"`\$.time`"),
        ({"time": "2013-02-14T00:00:00"}, r"`\$.time`"),
        ({"datacontenttype": "text/csv", "data": DATA}, "data of type text/csv"),
        ({"data": [DATA]}, "not an object"),
        ({"data": "flights"}, "not an object"),
        ({"data": {"id": "8", "time": "now"}}, "repeats id, time"),
        ({"data": {"partition": "2013"}}, "unknown field `partition`"),
        ({"subject": None, "data": {}}, "missing required field `dataset`"),
        ({"data": {}, "data_base64": "e30="}, "data or data_base64, not both"),
        ({"data_base64": "***"}, "not base64"),
        ({"data_base64": "e30"}, "not base64"),
        ({"data_base64": b64encode(b"{").decode()}, "not JSON"),
    ],
)
def test_an_invalid_structured_event_is_rejected_with_the_reason(changes, complaint):
    with pytest.raises(InvalidEvent, match=complaint):
        structured(**changes)


@pytest.mark.parametrize(
    ("value", "changes", "complaint"),
    [
        (b"{", {}, "not JSON"),
        (b"{}", {"specversion": "2.0"}, r"'2.0' - at `\$.specversion`"),
        (b"{}", {"id": None}, "missing required field `id`"),
        (b"{}", {"source": None}, "missing required field `source`"),
        (b"{}", {"type": None}, "missing required field `type`"),
        (b"a,b", {"datacontenttype": "text/csv"}, "data of type text/csv"),
    ],
)
def test_an_invalid_binary_event_is_rejected_with_the_reason(value, changes, complaint):
    with pytest.raises(InvalidEvent, match=complaint):
        binary(value, **changes)


@pytest.mark.parametrize("media_type", ["cloudevents-batch+json", "cloudevents+avro"])
def test_other_encodings_of_an_envelope_are_rejected(media_type):
    with pytest.raises(InvalidEvent, match="cannot be read"):
        read_cloudevent(b"[]", {"content-type": f"application/{media_type}"}, None)


def test_a_tombstone_is_rejected():
    with pytest.raises(InvalidEvent, match="null value"):
        read_cloudevent(None, STRUCTURED, None)
