"""No partition is omitted from the part of a dataset that a run reports as written."""

from itertools import product
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from engine.partitions import PartitionSpace
from tests.support.bindings import bound

SPEC = {"dt": {"time": "day"}, "region": {"static": ["eu", "us"]}}
SPACE = PartitionSpace.from_spec(SPEC)
VALUES = {"dt": ["2026-01-01", "2026-01-02"], "region": ["eu", "us"], "status": ["open", "paid"]}
ROWS = [dict(zip(VALUES, cells, strict=True)) for cells in product(*VALUES.values())]
read = bound("openlineage", SPEC, None)

PAIR = st.sampled_from([(name, value) for name, values in VALUES.items() for value in values])
DIMENSIONS = st.lists(PAIR, max_size=3).map(dict)
COMPARISONS = ["EQUAL", "GREATER_THAN", "GREATER_EQUAL_THAN", "LESS_THAN", "LESS_EQUAL_THAN"]


def compared(pair: tuple[str, str], comparison: str, flipped: bool) -> dict[str, Any]:
    sides = [{"type": "field", "field": pair[0]}, {"type": "literal", "value": pair[1]}]
    left, right = reversed(sides) if flipped else sides
    return {"type": "compare", "comparison": comparison, "left": left, "right": right}


def listed(partitions: list[dict[str, str]]) -> dict[str, Any]:
    return {"type": "partition", "partitions": [{"dimensions": each} for each in partitions]}


def located(partitions: list[dict[str, str]]) -> dict[str, Any]:
    parts = ["/".join(f"{name}={value}" for name, value in each.items()) for each in partitions]
    return {"type": "location", "locations": [f"s3://lake/{each}/part-0" for each in parts]}


CONDITION: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.builds(compared, PAIR, st.sampled_from(["EQUAL", *COMPARISONS]), st.booleans())
    | st.lists(DIMENSIONS, min_size=1, max_size=3).map(listed)
    | st.lists(DIMENSIONS, min_size=1, max_size=3).map(located),
    lambda inner: st.fixed_dictionaries(
        {
            "type": st.just("binary"),
            "operator": st.sampled_from(["AND", "OR"]),
            "left": inner,
            "right": inner,
        }
    ),
    max_leaves=6,
)


def holds(condition: dict[str, Any], row: dict[str, str]) -> bool:
    """Check that a row is in the part, following the text of the specification."""
    match condition["type"]:
        case "binary":
            both = holds(condition["left"], row), holds(condition["right"], row)
            return all(both) if condition["operator"] == "AND" else any(both)
        case "compare":
            left, right = (
                row[side["field"]] if side["type"] == "field" else side["value"]
                for side in (condition["left"], condition["right"])
            )
            return {
                "EQUAL": left == right,
                "GREATER_THAN": left > right,
                "GREATER_EQUAL_THAN": left >= right,
                "LESS_THAN": left < right,
                "LESS_EQUAL_THAN": left <= right,
            }[condition["comparison"]]
        case "partition":
            return any(
                each["dimensions"].items() <= row.items() for each in condition["partitions"]
            )
    return any(
        {*each.split("/")[3:-1]} - {""} <= {f"{name}={value}" for name, value in row.items()}
        for each in condition["locations"]
    )


@given(CONDITION)
def test_every_written_partition_is_covered(condition: dict[str, Any]) -> None:
    output = {
        "namespace": "n",
        "name": "orders",
        "outputFacets": {"subset": {"outputCondition": condition}},
    }
    message = {"eventType": "COMPLETE", "run": {"runId": "r"}, "outputs": [output]}
    (event,) = read(msgspec.json.encode(message), {}, None)
    said = SPACE.universe if event.partitions is None else SPACE.from_keys(event.partitions)

    for row in ROWS:
        if holds(condition, row):
            key = SPACE.parse(f"dt={row['dt']}/region={row['region']}")
            assert key & said == key
