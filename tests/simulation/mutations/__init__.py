"""Mutations of the engine, each of which the simulator must detect, by area of the engine.

Each changes a single behavior.
"""

from tests.simulation.mutations import (
    chains,
    contents,
    dependents,
    deployment,
    execution,
    fingerprints,
    ingestion,
    partitions,
    planning,
    schedules,
    tasks,
)
from tests.simulation.mutations.registry import CLASSES, LOST_WORK, MUTATIONS

__all__ = [
    "CLASSES",
    "LOST_WORK",
    "MUTATIONS",
    "chains",
    "contents",
    "dependents",
    "deployment",
    "execution",
    "fingerprints",
    "ingestion",
    "partitions",
    "planning",
    "schedules",
    "tasks",
]
