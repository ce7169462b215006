"""Column lineage in run events, in the form written by the official client."""

import msgspec
import pytest
from openlineage.client.event_v2 import Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.generated.column_lineage_dataset import (
    ColumnLineageDatasetFacet,
    Fields,
    InputField,
    Transformation,
)
from openlineage.client.generated.parent_run import Job as ParentJob
from openlineage.client.generated.parent_run import ParentRunFacet, Root, RootJob, RootRun
from openlineage.client.generated.parent_run import Run as ParentRun
from openlineage.client.serde import Serde

from consumers.formats.openlineage import OpenLineage
from engine.lineage.columns import EVERY
from engine.model.reported_lineage import DatasetNaming, Name, ReportedColumn
from tests.support.bindings import bound

OURS = "01941f29-7c00-7087-8906-40e512c20001"
BETWEEN = "01941f29-7c00-7087-8906-40e512c257bd"
SPARK = "01941f29-7c00-7087-8906-40e512c257be"
AMOUNT = InputField("db", "orders", "amount", [Transformation("DIRECT", "AGGREGATION")])
STATUS = InputField("db", "orders", "status", [Transformation("INDIRECT", "FILTER")])
NAMES = (Name("db", "orders"),)


def message(facet: ColumnLineageDatasetFacet, state: RunState = RunState.COMPLETE) -> bytes:
    root = Root(RootRun(OURS), RootJob("knockon", "shop.daily"))
    parent = ParentRunFacet(ParentRun(BETWEEN), ParentJob("spark", "app"), root)
    event = RunEvent(
        eventTime="2026-01-03T00:00:00Z",
        producer="https://example.com/spark",
        run=Run(SPARK, {"parent": parent}),
        job=Job("spark", "app.save"),
        eventType=state,
        outputs=[OutputDataset("db", "daily", facets={"columnLineage": facet})],
    )
    return Serde.to_json(event).encode()


def format_of_the_topic() -> OpenLineage:
    found = bound("openlineage", name="{dataset}", namespace="db")
    assert isinstance(found, OpenLineage)
    return found


def test_complete_lineage_is_reported_with_its_parent_runs() -> None:
    facet = ColumnLineageDatasetFacet({"total": Fields([AMOUNT, STATUS]), "n": Fields([])})

    [reported] = format_of_the_topic().reported_lineage(message(facet))

    assert [str(each) for each in reported.runs] == [SPARK, BETWEEN, OURS]
    assert reported.names == (Name("db", "daily"),)
    assert reported.columns == {"total", "n"}
    assert set(reported.reads) == {
        ReportedColumn("total", NAMES, "amount"),
        ReportedColumn(EVERY, NAMES, "status"),
    }
    assert reported.naming == (DatasetNaming("db", "{dataset}"),)


def test_filter_columns_may_be_reported_for_the_whole_dataset() -> None:
    plain = InputField("db", "orders", "amount")
    facet = ColumnLineageDatasetFacet({"total": Fields([plain])}, [STATUS])

    [reported] = format_of_the_topic().reported_lineage(message(facet))

    assert {each.output for each in reported.reads} == {"total", EVERY}


@pytest.mark.parametrize("dataset", [None, []])
def test_lineage_without_transformations_is_incomplete(
    dataset: list[InputField] | None,
) -> None:
    plain = InputField("db", "orders", "amount")
    facet = ColumnLineageDatasetFacet({"total": Fields([AMOUNT, plain])}, dataset)
    assert format_of_the_topic().reported_lineage(message(facet)) == []


@pytest.mark.parametrize("state", [RunState.START, RunState.FAIL, RunState.ABORT])
def test_only_completed_runs_report_lineage(state: RunState) -> None:
    facet = ColumnLineageDatasetFacet({"total": Fields([AMOUNT])})
    assert format_of_the_topic().reported_lineage(message(facet, state)) == []


@pytest.mark.parametrize(
    "facet",
    [3, {}, {"fields": []}, {"fields": {"total": {}}}, {"fields": {"total": {"inputFields": [1]}}}],
)
def test_an_invalid_facet_is_ignored(facet: object) -> None:
    body = msgspec.json.decode(message(ColumnLineageDatasetFacet({})))
    body["outputs"][0]["facets"]["columnLineage"] = facet
    value = msgspec.json.encode(body)
    assert format_of_the_topic().reported_lineage(value) == []
    assert len(format_of_the_topic()(value, {}, None)) == 1  # an unbound dataset


def test_malformed_messages_report_no_lineage() -> None:
    assert format_of_the_topic().reported_lineage(None) == []
    assert format_of_the_topic().reported_lineage(b'{"columnLineage":') == []


@pytest.mark.parametrize(
    ("naming", "is_match"),
    [
        (DatasetNaming(None, "{dataset}"), True),
        (DatasetNaming("db", "{dataset}"), True),
        (DatasetNaming("other", "{dataset}"), False),
        (DatasetNaming("db", "public.{dataset}"), False),
        (DatasetNaming("db", "orders", only="orders"), True),
        (DatasetNaming("db", "orders", only="sales"), False),
    ],
)
def test_names_are_matched_by_the_naming_of_a_source(naming: DatasetNaming, is_match: bool) -> None:
    assert naming.matches(Name("db", "orders"), "orders") is is_match
