"""Formats by name: the built-in ones, their copies in checks and documents, and plug-ins."""

import re
from pathlib import Path

import pytest

from consumers.formats.cloudevents import read_cloudevent
from consumers.formats.format import BUILT_IN_FORMATS, format_named
from consumers.formats.knockon import read_events
from engine.errors import UnknownName
from engine.lineage.check_messages import BINDING_KEYS
from engine.model.dag_sources import KafkaSource

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"


def install(directory: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Install a package with a format of the name."""
    (directory / "lines.py").write_text("def read(value, headers, dataset): return []\n")
    info = directory / "lines-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: lines\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[knockon.formats]\n{name} = lines:read\n")
    monkeypatch.syspath_prepend(directory)


def test_a_format_is_found_by_its_name():
    assert format_named("knockon") is read_events
    assert format_named("cloudevents") is read_cloudevent


def test_an_unknown_format_is_rejected_with_the_available_ones():
    with pytest.raises(UnknownName, match="'avro': use cloudevents, debezium, knockon"):
        format_named("avro")


def test_a_plug_in_format_is_found_by_its_entry_point(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "lines")

    assert format_named("lines").__module__ == "lines"


def test_a_built_in_format_hides_a_plug_in_of_the_same_name(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "knockon")

    assert format_named("knockon") is read_events


def test_the_dag_schema_names_every_built_in_format():
    description = KafkaSource.model_fields["format"].description or ""
    assert set(re.findall(r"\w+", description)) - {"or", "a", "plug", "in"} == {*BUILT_IN_FORMATS}


def test_the_dag_reference_names_every_built_in_format():
    [listed] = re.findall(
        r"`format` is (.*?) or a plug-in", (REFERENCE / "dag-file.md").read_text(), re.DOTALL
    )
    assert set(re.findall(r"`(\w+)`", listed)) == {*BUILT_IN_FORMATS}


def test_the_dag_reference_lists_the_keys_of_every_bound_format():
    page = (REFERENCE / "dag-file.md").read_text()
    table = page.partition("| key | for |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (`.*?`) \|", table, re.M)
    documented = {key: set(re.findall(r"`(\w+)`", formats)) for key, formats in rows}
    assert documented == {
        key: {name for name, supported in BINDING_KEYS.items() if key in supported}
        for key in frozenset().union(*BINDING_KEYS.values())
    }


def test_the_events_reference_describes_every_built_in_format():
    described = re.findall(r"`format: (\w+)`", (REFERENCE / "events.md").read_text())
    assert {*described, "knockon"} == {*BUILT_IN_FORMATS}
