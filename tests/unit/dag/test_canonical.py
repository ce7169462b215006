"""Equal meaning gives equal bytes; different meaning gives different bytes."""

import pytest

from engine.model.dagfile import parse_dag, reread_dag

DAG = """
dag: d
description: text
partitionings: {daily: {dt: {time: day, start: 2013-01-01}}}
jobs:
  - name: a
    activation: source
    source: {kind: manual}
    outputs: [{dataset: a, partitioning: daily}]
  - name: b
    inputs: [a]
    outputs: [{dataset: b, partitioning: daily}]
    config: {sql: SELECT 1, set: {x: 1, y: 2}}
    timeout: 2m
"""

SAME = """
# The same with other words.
jobs:
- timeout: 120
  config:
    set: {y: 2, x: 1}
    sql: "SELECT 1"
  operator: sql
  max_attempts: 3
  scaling: {partitions_per_task: 1}
  inputs: [{as: a, dataset: a, wait_for: any, mapping: null}]
  outputs:
  - {partitioning: {dt: {time: day, zone: UTC, start: '2013-01-01'}}, dataset: b, read_roles: []}
  name: b
- {name: a, activation: source, source: {kind: manual}, outputs: [
    {dataset: a, partitioning: {dt: {start: 2013-01-01, time: day}}}]}
description: text
dag: d
"""


def content_hash(text: str) -> str:
    return parse_dag(text, where="f.yaml").content_hash()


def test_the_canonical_form_reads_back_to_the_same_hash() -> None:
    bare = DAG.replace("dataset: b,", "dataset: b, columns: [x, y],")
    assert reread_dag(parse_dag(bare, where="f.yaml").written).content_hash() == content_hash(bare)


def test_form_order_and_defaults_do_not_affect_the_hash() -> None:
    assert content_hash(DAG) == content_hash(SAME)


def test_the_hash_is_stable_between_releases() -> None:
    """Stored hashes are compared for years: if this fails, every DAG gets a new version."""
    assert content_hash(DAG) == ("1615792412c3c12f51e53f1deca75119f032cb951e192e26de446c8fb1f531ea")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dag: d", "dag: e"),
        ("description: text", "description: other"),
        ("{kind: manual}", "{kind: postgres, table: t}"),
        ("start: 2013-01-01", "start: 2013-01-02"),
        ("SELECT 1", "SELECT 2"),
        ("y: 2", "y: 3"),
        ("timeout: 2m", "timeout: 3m"),
        ("inputs: [a]", "inputs: [{dataset: a, as: c}]"),
    ],
)
def test_every_change_of_meaning_changes_the_hash(old: str, new: str) -> None:
    assert content_hash(DAG) != content_hash(DAG.replace(old, new))


def test_the_order_of_dimensions_changes_the_hash() -> None:
    both = "{x: {static: [a]}, y: {static: [b]}}"
    other = "{y: {static: [b]}, x: {static: [a]}}"
    own = DAG.replace("partitioning: daily", f"partitioning: {both}")
    assert content_hash(own) != content_hash(own.replace(both, other))
