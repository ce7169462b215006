"""Render the metrics of a process as text, with the process's org as a label of Knockon's own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import REGISTRY, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

import engine.monitor.metrics  # noqa: F401  so that every process exposes all metrics
from engine.monitor.pulse import Pulses

_OURS = "knockon_"


@dataclass(frozen=True, slots=True)
class Exposition:
    """The process's registered metrics, its pulses, and the metrics of the ``more`` collectors."""

    org: str
    more: Sequence[Collector] = ()

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics and their content type, in the format an Accept header prefers."""
        encode, content_type = choose_encoder(accept)
        return encode(self), content_type

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, adding the org to Knockon's own."""
        collectors: Sequence[Collector] = (REGISTRY, Pulses(), *self.more)
        for collector in collectors:
            for metric in collector.collect():
                yield self._of_org(metric) if metric.name.startswith(_OURS) else metric

    def _of_org(self, metric: Metric) -> Metric:
        named = Metric(metric.name, metric.documentation, metric.type, metric.unit)
        named.samples = [
            sample._replace(labels={"org": self.org, **sample.labels}) for sample in metric.samples
        ]
        return named
