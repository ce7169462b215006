"""A value has the same key in a path, a record and an event of any other format."""

from typing import Any
from urllib.parse import quote, quote_plus

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from consumers.formats.format import Format
from consumers.formats.keys import Kind, key_of
from engine.model.event import SourceEvent
from engine.partitions import PartitionSpace
from tests.support.bindings import bound

SPEC = {"region": {"dynamic": True}}
key = key_of(PartitionSpace.from_spec(SPEC)["region"], Kind())
s3 = bound("s3", SPEC, None, pattern="sales/region={region}/")
openlineage = bound("openlineage", SPEC, None)
record = bound("record", SPEC, None)
debezium = bound("debezium", SPEC, None)

ESCAPED_BY_HIVE = {*map(chr, range(1, 32)), *"\"#%'*/:=?\\\x7f{[]^"}
ODD = st.sampled_from([*"%:/=+ ?#&*é\u2028😀", "%3A", "%25", "%2F", "a"])
VALUES = st.none() | st.lists(ODD, min_size=1, max_size=5).map("".join) | st.text(min_size=1)


def escaped(value: str | None) -> str:
    """A directory's name, as escaped by Hive."""
    if value is None:
        return "__HIVE_DEFAULT_PARTITION__"
    return "".join(f"%{ord(c):02X}" if c in ESCAPED_BY_HIVE else c for c in value)


def said(read: Format, message: Any) -> set[str] | None:
    [event] = read(msgspec.json.encode(message), {}, None)
    return keys(event)


def keys(event: SourceEvent) -> set[str] | None:
    return None if event.partitions is None else set(event.partitions)


def completed(condition: Any) -> dict[str, Any]:
    facets = {"subset": {"outputCondition": condition}}
    output = {"namespace": "n", "name": "orders", "outputFacets": facets}
    return {"eventType": "COMPLETE", "run": {"runId": "r"}, "outputs": [output]}


def located(location: str) -> Any:
    return completed({"type": "location", "locations": [location]})


def dimensions(value: str | None) -> Any:
    return completed({"type": "partition", "partitions": [{"dimensions": {"region": value}}]})


@given(VALUES)
@example("A:B")
@example("A%3AB")
@example("0/=")
def test_a_value_has_the_same_key_in_every_format(value: str | None) -> None:
    path = f"sales/region={escaped(value)}/part-0"
    queued = {"eventName": "ObjectCreated:Put", "s3": {"object": {"key": quote_plus(path)}}}
    bridged = {"detail-type": "Object Created", "detail": {"object": {"key": path}}}
    own = key(value)
    expected = None if own is None else {own}

    assert said(s3, {"Records": [queued]}) == expected
    assert said(s3, bridged) == expected
    assert said(record, {"region": value}) == expected
    assert said(debezium, {"op": "c", "after": {"region": value}}) == expected
    assert said(openlineage, dimensions(value)) == expected
    for location in (f"/lake/{path}", f"s3://lake/{quote(path)}"):
        found = said(openlineage, located(location))
        assert found is None or (expected and expected <= found)
