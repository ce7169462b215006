"""The dashboard, the alerts and the documentation against the exported metrics."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.loops import engine as engine_loops
from engine.monitor.backlog_gauges import BacklogGauges
from engine.monitor.exposition import Exposition
from engine.settings import Settings
from engine.store.database import Database
from tests.support.worlds import World, source

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "examples" / "monitoring"
NAME = re.compile(r"\bknockon_[a-z_]+\b")
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}


@pytest.fixture
async def exported(database: Database) -> dict[str, list[str]]:
    """The names of all samples that an engine may export, by documented name."""
    world = await World.made(database, source("a"))
    backlog = BacklogGauges(database, world.org.id)
    await backlog.refresh()
    found = {}
    for metric in Exposition("default", [backlog]).collect():
        if metric.name.startswith("knockon_"):
            samples = [metric.name + suffix for suffix in SUFFIXES[metric.type]]
            found[samples[0] if metric.type == "counter" else metric.name] = samples
    return found


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _expressions() -> list[str]:
    """Every query of the alerts and of the dashboard."""
    panels = json.loads((MONITORING / "grafana.json").read_text())["panels"]
    shown = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert len(shown) > 30
    return shown + [rule["expr"] for rule in _rules()]


async def test_every_queried_metric_is_exported(exported: dict[str, list[str]]) -> None:
    known = {sample for samples in exported.values() for sample in samples}
    asked = {name for expression in _expressions() for name in NAME.findall(expression)}
    assert asked - known == set()


async def test_every_exported_metric_is_documented(exported: dict[str, list[str]]) -> None:
    told = set(NAME.findall((ROOT / "docs" / "reference" / "metrics.md").read_text()))
    assert set(exported) - told == set()
    known = {sample for samples in exported.values() for sample in samples} | set(exported)
    assert told - known == set()


async def test_every_exported_metric_is_on_the_dashboard_or_in_an_alert(
    exported: dict[str, list[str]],
) -> None:
    asked = {name for expression in _expressions() for name in NAME.findall(expression)}
    assert [name for name, samples in exported.items() if not asked & set(samples)] == []


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule["alert"])
def test_every_alert_has_an_action(rule: dict[str, Any]) -> None:
    assert set(rule["annotations"]) == {"summary", "action"}
    assert rule["labels"]["severity"] in {"critical", "warning"}


@pytest.mark.parametrize("expression", _expressions())
def test_brackets_match(expression: str) -> None:
    bare = re.sub(r'"[^"]*"', "", expression)
    while bare != (bare := re.sub(r"\([^(){}\[\]]*\)|\[[^(){}\[\]]*\]|\{[^(){}\[\]]*\}", "", bare)):
        pass
    assert not set(bare) & set("(){}[]")


def test_infrequent_loops_do_not_raise_the_stuck_alert() -> None:
    (stuck,) = (rule["expr"] for rule in _rules() if rule["alert"] == "KnockonLoopStuck")
    (limit,) = (float(text) for text in re.findall(r"> (\d+)", stuck))
    (excepted,) = re.findall(r'loop!~"([^"]+)"', stuck)
    seldom = {"trim": engine_loops._TRIM_SECONDS, "audit": Settings().audit_seconds}
    assert {name for name, period in seldom.items() if period > limit} == set(excepted.split("|"))
