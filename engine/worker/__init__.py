"""Workers: claim tasks, run them, and record the outcome."""

from engine.worker.client import Client
from engine.worker.context import Context, Result
from engine.worker.worker import Worker

__all__ = ["Client", "Context", "Result", "Worker"]
