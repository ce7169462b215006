"""The metrics of a process as text, each of ours under the org that the process acts for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import REGISTRY, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

import engine.monitor.metrics  # noqa: F401  so that every process tells of all of them
from engine.monitor.pulse import Pulses

_OURS = "knockon_"


@dataclass(frozen=True, slots=True)
class Exposition:
    """All that is told: what is counted in the process, its pulses, and what ``more`` collects."""

    org: str
    more: Sequence[Collector] = ()

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """The metrics, and their content type, in the format that an Accept header prefers."""
        encode, content_type = choose_encoder(accept)
        return encode(self), content_type

    def collect(self) -> Iterator[Metric]:
        """Every metric; those of ours bear the org."""
        every: Sequence[Collector] = (REGISTRY, Pulses(), *self.more)
        for collector in every:
            for metric in collector.collect():
                yield self._of_org(metric) if metric.name.startswith(_OURS) else metric

    def _of_org(self, metric: Metric) -> Metric:
        named = Metric(metric.name, metric.documentation, metric.type, metric.unit)
        named.samples = [
            sample._replace(labels={"org": self.org, **sample.labels}) for sample in metric.samples
        ]
        return named
