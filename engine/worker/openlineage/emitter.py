"""The emitter: send events in a background thread, so that no task waits for their delivery.

Errors do not propagate: events that cannot be sent are counted and logged.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from queue import Empty, Full, Queue
from threading import Event, Thread
from time import monotonic

import msgspec
import structlog
from tenacity import (
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)

from engine.errors import ServiceUnavailable
from engine.monitor.metrics import OPENLINEAGE_EVENTS
from engine.settings import Settings
from engine.worker.openlineage.events import openlineage_event
from engine.worker.openlineage.run_event import Emit, RunEvent, discard
from engine.worker.openlineage.sinks import Sink, sink_at

_log = structlog.get_logger(__name__)
_MOST_WAITING = 1_000
_FLUSH_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 30.0


@asynccontextmanager
async def event_emitter(settings: Settings) -> AsyncIterator[Emit]:
    """Send emitted events to the configured receiver; on exit, flush the queue.

    Raises InvalidInput for an invalid address.
    """
    if settings.openlineage_url is None:
        yield discard
        return
    sink = sink_at(settings.openlineage_url, settings.openlineage_api_key)
    emitter = Emitter(sink, settings.lineage_namespace)
    try:
        yield emitter.emit
    finally:
        await asyncio.to_thread(emitter.close)


class Emitter:
    """Send events in order, retrying each until the sink accepts or refuses the event.

    The queue holds ``most_waiting`` events; while the queue is full, new events are dropped.
    """

    def __init__(self, sink: Sink, namespace: str, most_waiting: int = _MOST_WAITING) -> None:
        self._sink = sink
        self._namespace = namespace
        self._waiting: Queue[RunEvent | None] = Queue(most_waiting)
        self._closing = Event()
        self._is_dropping = False
        self._with_retries = Retrying(
            retry=retry_if_exception_type(ServiceUnavailable),
            wait=wait_random_exponential(multiplier=0.5, max=_LONGEST_WAIT_SECONDS),
            sleep=sleep_using_event(self._closing),
            stop=stop_when_event_set(self._closing),
            reraise=True,
        )
        self._thread = Thread(target=self._run, daemon=True, name="knockon-openlineage")
        self._thread.start()

    def emit(self, event: RunEvent) -> None:
        """See `Emit`."""
        try:
            self._waiting.put_nowait(event)
        except Full:
            self._drop("the queue of events is full")

    def close(self, seconds: float = _FLUSH_SECONDS) -> None:
        """Send queued events until the first failure, for at most ``seconds``."""
        end = monotonic() + seconds
        self._closing.set()
        with suppress(Full):
            self._waiting.put(None, timeout=seconds)
        self._thread.join(max(end - monotonic(), 0))
        if self._thread.is_alive():
            _log.warning(
                "events were not sent before the worker stopped", waiting=self._waiting.qsize()
            )

    def _run(self) -> None:
        while (event := self._waiting.get()) is not None:
            try:
                self._send(event)
            except ServiceUnavailable as error:  # retries only end when the emitter closes
                self._drop(str(error))
                self._drop_all()
                break
            except Exception as error:
                self._drop(str(error))
        self._sink.close()

    def _send(self, event: RunEvent) -> None:
        body = msgspec.json.encode(openlineage_event(event, self._namespace))
        self._with_retries(self._sink.write, body)
        self._is_dropping = False
        OPENLINEAGE_EVENTS.labels("sent").inc()

    def _drop(self, why: str) -> None:
        """Count a dropped event; log only the first of several in a row."""
        OPENLINEAGE_EVENTS.labels("dropped").inc()
        if not self._is_dropping:
            _log.warning("OpenLineage events dropped", why=why)
        self._is_dropping = True

    def _drop_all(self) -> None:
        with suppress(Empty):
            while True:
                if self._waiting.get_nowait() is not None:
                    self._drop("the worker is stopping")
