from uuid import uuid4

import networkx as nx
import pytest
from msgspec.structs import replace

from engine.errors import InvalidDag, InvalidMapping, UnknownName
from engine.lineage.graph import Lineage
from tests.support.lineages import (
    DAY,
    MONTH,
    ORIGIN,
    dataset_id,
    job_id,
    lineage,
    made,
    reads,
    source,
)

FLIGHTS = source("flights", DAY)
DAILY = made("daily", DAY, "flights")
MONTHLY = made("monthly", MONTH, "daily", "flights")


def test_lookups_by_id_and_by_name():
    graph = lineage(MONTHLY, DAILY, FLIGHTS)

    assert graph.dataset(dataset_id("daily")).name == "daily"
    assert graph.dataset_named("daily").id == dataset_id("daily")
    assert graph.find_dataset(uuid4()) is None
    assert graph.job(job_id("daily")).name == "daily"
    assert graph.producer(dataset_id("daily")).name == "daily"
    assert [edge.job for edge in graph.readers(dataset_id("daily"))] == [job_id("monthly")]
    assert [edge.input.name for edge in graph.inputs(job_id("monthly"))] == ["daily", "flights"]
    assert not graph.readers(dataset_id("monthly"))
    assert graph.space(dataset_id("flights")) == graph.job_space(graph.job(job_id("daily")))


def test_each_job_ranks_after_its_upstream_jobs():
    graph = lineage(MONTHLY, DAILY, FLIGHTS)

    assert [job.name for job in graph.order] == ["flights", "daily", "monthly"]
    assert [graph.rank[job.id.int] for job in graph.order] == [0, 1, 2]
    assert set(graph.graph().edges) == {
        (job_id("flights"), job_id("daily")),
        (job_id("flights"), job_id("monthly")),
        (job_id("daily"), job_id("monthly")),
    }
    assert nx.is_directed_acyclic_graph(graph.graph())


def test_one_dataset_read_twice_has_two_edges():
    week = reads("flights", {"dt": {"from": "dt", "window": [-6, 0]}}, alias="week")
    graph = lineage(FLIGHTS, made("daily", DAY, "flights", week))

    day, trailing = graph.inputs(job_id("daily"))

    assert day.mapping.is_identity
    assert not trailing.mapping.is_identity


def test_equal_mappings_are_compiled_once():
    graph = lineage(FLIGHTS, DAILY, made("other", DAY, "flights"))

    first, second = graph.readers(dataset_id("flights"))

    assert first.mapping is second.mapping
    assert graph.space(dataset_id("daily")) is graph.space(dataset_id("other"))


def test_an_edge_is_unmapped_in_undetermined_output_dimensions():
    planes = source("planes")
    graph = lineage(FLIGHTS, planes, made("daily", DAY | ORIGIN, "flights", "planes"))

    assert [edge.unmapped for edge in graph.inputs(job_id("daily"))] == [
        frozenset(),
        frozenset({0}),
    ]


def test_column_lineage_belongs_to_an_output_and_an_input():
    both = made("both", DAY, "flights", "planes", also=["other"])
    graph = lineage(FLIGHTS, source("planes"), both, columns=["both.x <- flights.a"])

    flights, planes = graph.inputs(job_id("both"))

    assert flights.columns == ({"a": ("x",)}, None)
    assert planes.columns == (None, None)


@pytest.mark.parametrize(
    ("jobs", "complaint"),
    [
        ([made("a", DAY, "b"), made("b", DAY, "a")], "cycle: '[ab]' feeds '[ab]', '[ab]' feeds"),
        ([made("a", DAY, "a")], "'a' feeds 'a'"),
        ([made("a", DAY, "b")], "job 'a' reads 'b', but no job produces it"),
        ([(FLIGHTS[0], replace(FLIGHTS[1], outputs=()))], "job 'flights' has no output"),
        (
            [FLIGHTS, (FLIGHTS[0], replace(FLIGHTS[1], id=uuid4(), name="twin"))],
            "produced by two jobs, 'flights' and 'twin'",
        ),
    ],
)
def test_contradictory_lineage_is_rejected_by_name(jobs, complaint):
    with pytest.raises(InvalidDag, match=complaint):
        lineage(*jobs)


def test_a_dataset_without_a_producer_is_rejected():
    with pytest.raises(InvalidDag, match="no job produces dataset 'flights'"):
        Lineage.build(FLIGHTS[0], [])


def test_an_invalid_mapping_is_rejected_with_its_input():
    with pytest.raises(InvalidMapping, match="job 'daily', input 'flights'"):
        lineage(FLIGHTS, made("daily", ORIGIN, "flights"))


@pytest.mark.parametrize("ask", ["dataset", "job", "producer", "space"])
def test_an_unknown_id_is_rejected(ask):
    with pytest.raises(UnknownName, match="there is no"):
        getattr(lineage(FLIGHTS), ask)(uuid4())


def test_an_unknown_name_is_rejected():
    with pytest.raises(UnknownName, match="there is no dataset nope"):
        lineage(FLIGHTS).dataset_named("nope")
