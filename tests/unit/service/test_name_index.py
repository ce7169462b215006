"""Names are found by parts, the best matches first."""

from itertools import islice

from engine.service.name_index import Match, NameIndex

NAMES = ["Sales", "sales_by_day", "daily_sales", "wholesales", "resale", "a.sales", "orders"]


def found(text: str, names: list[str] = NAMES) -> list[tuple[str, str]]:
    return [(str(match), name) for match, name, _ in NameIndex((n, n) for n in names).find(text)]


def test_the_best_matches_come_first() -> None:
    assert found("SALES") == [
        ("exact", "Sales"),
        ("prefix", "sales_by_day"),
        ("word", "daily_sales"),
        ("word", "a.sales"),
        ("part", "wholesales"),
    ]
    assert found("sale")[-1] == ("part", "wholesales")
    assert ("part", "resale") in found("sale")


def test_nothing_is_found_by_no_text_or_no_part() -> None:
    for text in ("", "xyz", "\0", "ers\0", "day\0orders"):
        assert found(text) == []
    assert list(NameIndex(()).find("a")) == []


def test_a_name_with_several_matches_is_found_once() -> None:
    assert found("a", ["banana", "a_a"]) == [("prefix", "a_a"), ("part", "banana")]


def test_the_first_and_the_last_name_are_found() -> None:
    names = [f"n{number}" for number in range(20)]
    for name in ("n0", "n9"):
        assert found(name, names)[0] == ("exact", name)
    assert len(found("n", names)) == 20
    assert [name for _, name in found("9", names)] == ["n19", "n9"]


def test_equal_names_keep_all_items() -> None:
    index = NameIndex([("id", 1), ("ID", 2), ("id", 3)])
    assert sorted((name, item) for _, name, item in index.find("id")) == [
        ("ID", 2),
        ("id", 1),
        ("id", 3),
    ]


def test_names_may_grow_when_folded() -> None:
    names = ["Straße", "strasse_2", "zebra"]
    assert found("STRASSE", names) == [("exact", "Straße"), ("prefix", "strasse_2")]
    assert found("zeb", names) == [("prefix", "zebra")]


def test_a_search_ends_with_the_last_item_taken() -> None:
    index = NameIndex((f"name_{number}", number) for number in range(100_000))
    first = list(islice(index.find("name"), 3))
    assert [match for match, _, _ in first] == [Match.PREFIX] * 3
