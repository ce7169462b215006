"""YAML as plain data: bounded, without surprises, and with line numbers."""

from collections.abc import Iterator

import pytest
import yaml

from engine.errors import InvalidDag
from engine.model import plainyaml
from engine.model.plainyaml import read_yaml


def value(text: str) -> object:
    return read_yaml(f"v: {text}", "f.yaml")[0]["v"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("2013-01-01", "2013-01-01"),
        ("2013-01-01T05:00:00Z", "2013-01-01T05:00:00Z"),
        ("12:30", "12:30"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        (".nan", ".nan"),
        ("true", True),
        ("False", "False"),
        ("null", None),
        ("~", None),
        ("", None),
        ("''", ""),
        ("'1'", "1"),
        ("-12", -12),
        ("1.5", 1.5),
        ("2e3", 2000.0),
        ("9223372036854775807", 9223372036854775807),
    ],
)
def test_plain_scalars_have_their_types(text: str, expected: object) -> None:
    found = value(text)
    assert (found, type(found)) == (expected, type(expected))


def test_each_value_has_its_line_and_column() -> None:
    _, source_map = read_yaml("a:\n  - b: 1\n    c: {d: 2}\n", "f.yaml")
    assert source_map.positions == {
        (): (1, 1),
        ("a",): (1, 1),
        ("a", 0): (2, 5),
        ("a", 0, "b"): (2, 5),
        ("a", 0, "c"): (3, 5),
        ("a", 0, "c", "d"): (3, 9),
    }


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: 1\nb: &x 2\n", "2:4: b", "anchors and aliases are not read"),
        ("a: 1\nb: *x\n", "2:4: b", "anchors and aliases are not read"),
        ("a: 1\n&x b: 2\n", "2:1", "anchors and aliases are not read"),
        ("a:\n  - !!python/object:os.system x\n", "2:5: a[0]", "the tag tag:yaml.org,2002:python"),
        ("a: !mine {}\n", "1:4: a", "the tag !mine is not read"),
        ("a: 1\nb: 2\na: 3\n", "3:1: a", "this key stands on line 1 already"),
        ("a: {b: 1, b: 2}\n", "1:11: a.b", "this key stands on line 1 already"),
        ("a: 1\n---\nb: 2\n", "2:1", "a second document begins here"),
        ("a: [1, 2\n", "2:1", "this is not YAML"),
        ("a: b: c\n", "1:5", "this is not YAML"),
        ("? [a]\n: 1\n", "1:3", "a key must be plain text"),
        ('a: "\\0"\n', "1:4: a", "no database stores"),
        ('"\\0": 1\n', "1:1", "no database stores"),
        ("a: 9223372036854775808\n", "1:4: a", "does not fit 64 bits"),
        (f"a: {'9' * 10_000}\n", "1:4: a", "does not fit 64 bits"),
        ("a: 1e999\n", "1:4: a", "does not fit 64 bits"),
        ("a: \ud800\n", "1:4", "this is not UTF-8"),
        (b"a: 1\nb: \xff\n", "2:4", "this is not UTF-8"),
    ],
)
def test_other_yaml_features_are_rejected_with_their_position(
    text: str | bytes, place: str, message: str
) -> None:
    with pytest.raises(InvalidDag) as refused:
        read_yaml(text, "f.yaml")
    assert str(refused.value).startswith(f"f.yaml:{place}: ")
    assert message in str(refused.value)


def test_a_byte_order_mark_is_ignored() -> None:
    assert read_yaml(b"\xef\xbb\xbfa: 1", "f.yaml")[0] == {"a": 1}


def test_an_empty_document_is_none() -> None:
    assert read_yaml("# nothing\n", "f.yaml")[0] is None


def counted_events(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Events requested from the parser: the cost of a rejection, measured without a clock."""
    taken: list[object] = []
    parse = yaml.parse

    def counting(*args: object, **options: object) -> Iterator[object]:
        for event in parse(*args, **options):  # type: ignore[arg-type]
            taken.append(event)
            yield event

    monkeypatch.setattr(plainyaml.yaml, "parse", counting)
    return taken


def test_an_alias_bomb_is_rejected_at_its_first_anchor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = counted_events(monkeypatch)
    laughs = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30))
    with pytest.raises(InvalidDag, match=r"^f.yaml:1:5: a0: anchors"):
        read_yaml(f"a0: &a0 [x]\n{laughs}", "f.yaml")
    assert len(taken) < 10


def test_deep_nesting_is_rejected_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = counted_events(monkeypatch)
    with pytest.raises(InvalidDag, match="nested more than 20 deep"):
        read_yaml("[\n" * 100_000, "f.yaml")
    assert len(taken) < 30


def test_deep_nesting_within_a_line_is_rejected() -> None:
    with pytest.raises(InvalidDag, match=r"nested more than 20 deep|maximum nesting depth"):
        read_yaml("[" * 100_000, "f.yaml")


def test_twenty_levels_are_read() -> None:
    found, _ = read_yaml("[" * 20 + "]" * 20, "f.yaml")
    assert str(found) == "[" * 20 + "]" * 20


def test_many_values_are_rejected_before_the_rest_is_parsed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plainyaml, "MAX_NODES", 100)
    taken = counted_events(monkeypatch)
    with pytest.raises(InvalidDag, match="more than 100 values"):
        read_yaml("- 1\n" * 1_000, "f.yaml")
    assert len(taken) < 110


def test_a_large_file_is_rejected_unparsed(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = counted_events(monkeypatch)
    with pytest.raises(InvalidDag, match="larger than 1048576 bytes"):
        read_yaml("#" * ((1 << 20) + 1), "f.yaml")
    assert not taken


def test_the_largest_file_is_read() -> None:
    assert read_yaml("a: 1\n".ljust(1 << 20, "#"), "f.yaml")[0] == {"a": 1}
