"""OpenLineage events of an attempt, checked against the classes of the official client."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from engine.lineage.columns import EVERY, NO_COLUMN
from engine.model.openlineage import run_id, tasks_of
from engine.model.task import Lease, Output
from engine.store.ids import new_id
from engine.worker.openlineage.events import openlineage_event
from engine.worker.openlineage.facets import Task
from engine.worker.openlineage.run_event import RunEvent
from tests.support.bindings import bound
from tests.support.openlineage import DAILY, TASK, check, lease

KEYS = ("dt=2013-02-13/region=us", "dt=2013-02-14/region=eu west")
ORDERS, SALES = UUID(int=1), UUID(int=3)
LINEAGE = [
    [SALES, ORDERS, ["total", "dt", "n", EVERY, EVERY], ["amount", "dt", NO_COLUMN, "dt", "id"]],
    [ORDERS, SALES, ["of another output"], ["dt"]],
]


def told(lease: Lease, kind: Any = "COMPLETE", **more: Any) -> dict[str, Any]:
    """The event as sent."""
    event = openlineage_event(RunEvent(kind, lease, **more), "knockon://default")
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(event))
    check(decoded)
    return decoded


def test_an_event_names_the_attempt_the_job_and_the_datasets() -> None:
    event = told(lease(*KEYS), "START")

    assert event["eventType"] == "START"
    assert event["run"]["runId"] == str(lease(*KEYS).run_id)
    assert (event["job"]["namespace"], event["job"]["name"]) == ("knockon://default", "shop.daily")
    assert [each["name"] for each in event["inputs"]] == ["orders"]  # read twice, listed once
    assert [each["name"] for each in event["outputs"]] == ["sales"]
    columns = event["outputs"][0]["facets"]["schema"]["fields"]
    assert columns == [{"name": "dt"}, {"name": "total"}]


def test_each_attempt_is_its_own_run() -> None:
    first, again = lease("*"), lease("*")
    object.__setattr__(again, "attempt", 3)

    assert first.run_id == lease("*").run_id
    assert first.run_id != again.run_id


@pytest.mark.parametrize("attempt", [1, 1000, 0xFFFF])
def test_the_task_is_found_by_the_run(attempt: int) -> None:
    tasks = [new_id() for _ in range(100)]
    for task in tasks:
        first, last = tasks_of(run_id(task, attempt))
        assert [each for each in tasks if first <= each <= last] == [task]


def test_partitions_are_reported_as_times_as_a_subset_and_as_keys() -> None:
    event = told(lease(*KEYS))

    facets = event["run"]["facets"]
    assert facets["nominalTime"]["nominalStartTime"] == "2013-02-13T05:00:00+00:00"
    assert facets["nominalTime"]["nominalEndTime"] == "2013-02-15T05:00:00+00:00"
    assert facets["knockon_task"]["partitions"] == list(KEYS)
    subset = event["outputs"][0]["outputFacets"]["subset"]["outputCondition"]
    assert subset["partitions"][0] == {
        "identifier": KEYS[0],
        "dimensions": {"dt": "2013-02-13", "region": "us"},
    }


def test_reported_partitions_can_be_read_back() -> None:
    event = {**told(lease(*KEYS)), "producer": "somebody"}
    source = {"name": "sales", "namespace": "knockon://default"}
    read = bound("openlineage", json.loads(DAILY), None, **source)

    assert [each.partitions for each in read(msgspec.json.encode(event), {}, None)] == [KEYS]


def test_ranges_and_the_unpartitioned_have_no_subset() -> None:
    for each in (lease("dt=2013-02-01..2013-02-03"), lease("*", partitioning="{}")):
        event = told(each)
        assert "nominalTime" not in event["run"]["facets"]
        assert "subset" not in event["outputs"][0]["outputFacets"]


def test_column_lineage_distinguishes_columns_and_the_whole_dataset() -> None:
    facet = told(lease(*KEYS, lineage=LINEAGE))["outputs"][0]["facets"]["columnLineage"]

    def of(column: str) -> dict[str, str]:
        return {"namespace": "knockon://default", "name": "orders", "field": column}

    assert facet["fields"] == {
        "total": {"inputFields": [of("amount")]},
        "dt": {"inputFields": [of("dt")]},
        "n": {"inputFields": []},
    }
    assert facet["dataset"] == [of("dt"), of("id")]


def test_any_column_expands_to_all_known_columns() -> None:
    every = [[SALES, ORDERS, ["total"], [EVERY]]]
    facet = told(lease(*KEYS, lineage=every))["outputs"][0]["facets"]["columnLineage"]

    fields = [each["field"] for each in facet["fields"]["total"]["inputFields"]]
    assert fields == ["dt", "id", "amount"]


def test_without_lineage_there_is_no_facet() -> None:
    assert "columnLineage" not in told(lease(*KEYS))["outputs"][0]["facets"]


def test_counts_are_summed_if_all_are_known() -> None:
    both = (
        Output("sales", KEYS[0], row_count=3, bytes=10),
        Output("sales", KEYS[1], row_count=4),
        Output("others", KEYS[1], row_count=9),
    )
    facets = told(lease(*KEYS), outputs=both)["outputs"][0]["outputFacets"]

    assert facets["outputStatistics"]["rowCount"] == 7
    assert "size" not in facets["outputStatistics"]
    assert "outputStatistics" not in told(lease(*KEYS))["outputs"][0]["outputFacets"]


def test_a_failure_has_its_error() -> None:
    event = told(lease(*KEYS), "FAIL", error="no\n" * 10_000)

    assert event["run"]["facets"]["errorMessage"]["message"].startswith("no\nno")
    assert len(event["run"]["facets"]["errorMessage"]["message"]) == 10_000


def test_the_facet_of_knockon_matches_its_schema() -> None:
    schema = json.loads(Path("docs/reference/openlineage/TaskRunFacet.json").read_text("utf-8"))
    facet = told(lease(*KEYS))["run"]["facets"]["knockon_task"]
    ours = msgspec.json.schema(Task)["$defs"]["Task"]["properties"]

    assert facet["task"] == str(TASK)
    assert facet["_schemaURL"] == schema["$id"]
    assert facet.keys() == schema["properties"].keys() == ours.keys() == set(schema["required"])
    for name, said in ours.items():
        assert said["type"] == schema["properties"][name]["type"]
