"""Which outputs that nobody has bound are datasets of their own, as a source says by a rule."""

import re
from dataclasses import dataclass
from functools import cached_property

from consumers.formats.binding import Binding
from engine.model.dag import GROUP, NAME, Discovery, JobSpec
from engine.model.event import MAX_TEXT
from engine.model.heard import Heard
from engine.model.told import Name

_PART = "[A-Za-z0-9_]+"


@dataclass(frozen=True)
class Rule:
    """The rule of a source; what it covers is cut in partitions as the source's own datasets."""

    discovery: Discovery
    binding: Binding

    def heard(self, name: Name) -> Heard | None:
        """The dataset of a name there, if the rule covers it."""
        found = self._pattern.fullmatch(name.name) if len(name.name) <= MAX_TEXT else None
        if found is None or name.namespace != self.binding.source.namespace:
            return None
        dataset = GROUP.sub(lambda group: found[group[1]], self.discovery.dataset)
        return self._heard(name, dataset) if NAME.fullmatch(dataset) else None

    def bound(self, heard: Heard) -> Binding:
        """How it is told of from then on."""
        source = self.binding.source.model_copy(
            update={"name": heard.name.name, "dataset": heard.dataset, "discover": None}
        )
        return Binding(heard.dataset, self.binding.space, None, source)

    def _heard(self, name: Name, dataset: str) -> Heard:
        source = self.binding.source.model_dump(exclude={"name", "dataset", "discover"})
        output = {"dataset": dataset, "partitioning": self.binding.space.to_spec()}
        job = {
            "name": dataset,
            "activation": "source",
            "source": {**source, "name": name.name},
            "outputs": [output],
        }
        return Heard(self.discovery.dag, name, JobSpec.model_validate(job))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Takes linear time: what stands between two groups begins with what no group takes."""
        texts = GROUP.split(self.discovery.name)
        literal = [re.escape(text) for text in texts[::2]]
        groups = [f"(?P<{name}>{_PART})" for name in texts[1::2]]
        return re.compile("".join(a + b for a, b in zip(literal, [*groups, ""], strict=True)))
