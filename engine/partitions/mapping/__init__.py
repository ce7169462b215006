"""Mappings between the partitions of two datasets: one relation a dimension, and their product."""

from engine.partitions.mapping.infer import infer
from engine.partitions.mapping.mapping import Mapping

__all__ = ["Mapping", "infer"]
