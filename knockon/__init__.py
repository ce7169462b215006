"""The public interface of Knockon: everything that code of its users may import.

`Server` and `AsyncServer` are clients of the HTTP service. Workers of one's own at the database use
`Client`, `Lease` and `Output`. Plug-ins implement `Operator`, `Runtime` or `Format`. Names outside
of this package may change in any release.
"""

from consumers.formats.format import Format
from engine.client import AsyncServer, Server
from engine.errors import (
    Forbidden,
    IdempotencyConflict,
    InvalidDag,
    InvalidEvent,
    InvalidFilter,
    InvalidInput,
    InvalidMapping,
    InvalidOutput,
    InvalidPartition,
    KnockonError,
    LeaseLost,
    OutdatedCode,
    PositionExpired,
    PositionLost,
    QuotaExceeded,
    SchemaInUse,
    ServiceUnavailable,
    TaskFailed,
    TooCostly,
    TooCostlyToPlan,
    TooManyEvents,
    TooManyPartitions,
    Unauthenticated,
    UnknownName,
)
from engine.model.dataset import Dataset
from engine.model.event import SourceEvent
from engine.model.job import Job
from engine.model.task import Completion, Lease, Output
from engine.worker import Client, Context, Result
from engine.worker.operators import Operator
from engine.worker.runtimes import Runtime

__all__ = [
    "AsyncServer",
    "Client",
    "Completion",
    "Context",
    "Dataset",
    "Forbidden",
    "Format",
    "IdempotencyConflict",
    "InvalidDag",
    "InvalidEvent",
    "InvalidFilter",
    "InvalidInput",
    "InvalidMapping",
    "InvalidOutput",
    "InvalidPartition",
    "Job",
    "KnockonError",
    "Lease",
    "LeaseLost",
    "Operator",
    "OutdatedCode",
    "Output",
    "PositionExpired",
    "PositionLost",
    "QuotaExceeded",
    "Result",
    "Runtime",
    "SchemaInUse",
    "Server",
    "ServiceUnavailable",
    "SourceEvent",
    "TaskFailed",
    "TooCostly",
    "TooCostlyToPlan",
    "TooManyEvents",
    "TooManyPartitions",
    "Unauthenticated",
    "UnknownName",
]
