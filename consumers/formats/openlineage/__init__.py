"""Run events of OpenLineage: what a run has written, and what it has made it from."""

from consumers.formats.openlineage.format import OpenLineage

__all__ = ["OpenLineage"]
