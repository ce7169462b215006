"""The work of deriving columns grows with their number, not with its square."""

import pytest

from engine.lineage.sql import carried
from engine.lineage.sql.preserved import preserved_columns
from engine.lineage.sql.relation import Relation


def test_each_name_of_a_select_is_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"c{number}" for number in range(500)]
    folded, original = [], carried.folded
    monkeypatch.setattr(carried, "folded", lambda name: folded.append(name) or original(name))
    found = preserved_columns(f"SELECT {', '.join(names)} FROM a", {"a": names})
    assert [read.column for name in names for read in found[name]] == names
    assert len(folded) <= 2 * len(names)


def test_columns_of_a_relation_are_listed_once() -> None:
    names = [f"c{number}" for number in range(500)]
    listed = 0

    class Columns(tuple):  # type: ignore[type-arg]
        def __iter__(self):  # type: ignore[no-untyped-def]
            nonlocal listed
            listed += 1
            return super().__iter__()

    relation = Relation.of_input("a", names)
    relation = Relation(Columns(relation.columns))
    assert all(relation.column(name) for name in names)
    assert listed == 1
