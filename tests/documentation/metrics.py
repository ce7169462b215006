"""The page of metrics, from `engine.monitor`."""

from collections import defaultdict
from typing import Any, cast
from uuid import UUID

from prometheus_client import Counter, Gauge, Histogram, Metric

from engine.monitor import metrics
from engine.monitor.backlog_gauges import BacklogGauges
from engine.monitor.pulse import Pulses
from engine.store.database import Database
from engine.store.rows.monitor import Backlog
from tests.documentation.markdown import GENERATED, code, table

_INTRODUCTION = """
# Metrics

[Monitoring](../how-to/monitor.md) describes the endpoint and the alert rules. Each metric below
also has the label `org`; Python's own metrics (`process_…`, `python_…`) are served beside them.
Counters start at 0 with the process.

## Counted by each process

"""

_DATABASE = """
## Read from the database

Engines read these gauges from the database, by a single statement and at most once a second. Every
engine of an org reports the same values, so take the `max`. While the database is away, only
`knockon_database_up` is reported.

"""


def page() -> str:
    """The page of metrics."""
    heads = ["metric", "type", "labels", "meaning"]
    return (
        GENERATED
        + _INTRODUCTION
        + table(heads, [*_process(), *(_family(each) for each in Pulses().collect())])
        + _DATABASE
        + table(heads, [_family(each) for each in _gauges()])
    )


def _process() -> list[list[str]]:
    return [
        _row(each, each._labelnames)
        for each in vars(metrics).values()
        if isinstance(each, Counter | Gauge | Histogram)
    ]


def _row(collector: Counter | Gauge | Histogram, labels: tuple[str, ...]) -> list[str]:
    (metric,) = collector.collect()
    name = metric.name + ("_total" if metric.type == "counter" else "")
    return [code(name), metric.type, ", ".join(map(code, labels)), metric.documentation]


def _family(metric: Metric) -> list[str]:
    labels = [label for label in cast("Any", metric)._labelnames if label != "org"]
    return [code(metric.name), metric.type, ", ".join(map(code, labels)), metric.documentation]


def _gauges() -> list[Metric]:
    gauges = BacklogGauges(cast("Database", None), UUID(int=0))
    values: dict[str, Any] = dict.fromkeys(Backlog.__struct_fields__, 0)
    gauges._backlogs = {"default": Backlog(**values | {"tasks": defaultdict(int)})}
    return list(gauges.collect())
