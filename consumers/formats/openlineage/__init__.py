"""OpenLineage run events: the datasets that a run wrote, and their column lineage."""

from consumers.formats.openlineage.format import OpenLineage

__all__ = ["OpenLineage"]
