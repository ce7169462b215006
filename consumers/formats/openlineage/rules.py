"""Discovery rules: unbound outputs that match a rule of a source become datasets."""

import re
from dataclasses import dataclass
from functools import cached_property

from consumers.formats.binding import Binding
from engine.model.dag import JobSpec
from engine.model.dag_fields import GROUP, NAME
from engine.model.dag_sources import Discovery
from engine.model.discovery import DiscoveredDataset
from engine.model.event import MAX_TEXT
from engine.model.reported_lineage import Name

_PART = "[A-Za-z0-9_]+"


@dataclass(frozen=True)
class Rule:
    """The discovery rule of a source; its datasets get the partitioning of the source."""

    discovery: Discovery
    binding: Binding

    def match(self, name: Name) -> DiscoveredDataset | None:
        """The dataset that an external name stands for, if the rule covers the name."""
        match = self._pattern.fullmatch(name.name) if len(name.name) <= MAX_TEXT else None
        if match is None or name.namespace != self.binding.source.namespace:
            return None
        dataset = GROUP.sub(lambda group: match[group[1]], self.discovery.dataset)
        if not NAME.fullmatch(dataset):
            return None
        source = self.binding.source.model_dump(exclude={"name", "dataset", "discover"})
        output = {"dataset": dataset, "partitioning": self.binding.space.to_spec()}
        job = {
            "name": dataset,
            "activation": "source",
            "source": {**source, "name": name.name},
            "outputs": [output],
        }
        return DiscoveredDataset(self.discovery.dag, name, JobSpec.model_validate(job))

    def binding_of(self, discovered: DiscoveredDataset) -> Binding:
        """The binding of a discovered dataset, for the events that follow."""
        source = self.binding.source.model_copy(
            update={"name": discovered.name.name, "dataset": discovered.dataset, "discover": None}
        )
        return Binding(discovered.dataset, self.binding.space, None, source)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """The name pattern as a regular expression that matches in linear time.

        The text between two groups begins with a character that no group matches.
        """
        texts = GROUP.split(self.discovery.name)
        literal = [re.escape(text) for text in texts[::2]]
        groups = [f"(?P<{name}>{_PART})" for name in texts[1::2]]
        return re.compile("".join(a + b for a, b in zip(literal, [*groups, ""], strict=True)))
